# SPDX-License-Identifier: Apache-2.0
"""Plays cells of the fault matrix one after the other, and prints what came of them as a table: points down, faults across."""

import os
import time
import traceback

import migd_faults
import migdtest
from migd_faults import FAULTS, NotReached


def play_one(row, fault, tries=3):
    """
    What the table says about a cell; the logs are printed if it failed. A migration may end on the way to the point, as where the
    library got no answer from KVM in ten seconds: then it is tried again.
    """
    point, scenario, who = row
    name = f"{point}@{who}/{fault.name}"
    t = migdtest.Test(name)
    began = time.monotonic()
    try:
        word = migd_faults.play(t, point, scenario, who, fault)
    except NotReached as e:
        if tries > 1:
            print(f"{name}: {e}, once more")
            return play_one(row, fault, tries - 1)
        word = f"FAIL {e}"
    except Exception as e:
        traceback.print_exc()
        t.print_logs()
        word = f"FAIL {e}"
    finally:
        t.close()
    print(f"{name}: {word} ({time.monotonic() - began:.1f} s)", flush=True)
    return word


def play(cells, path=None):
    """Play [(row, fault)]; the table goes to the output, and to the file `path` as it grows."""
    words = {}
    try:
        for row, fault in cells:
            words[row, fault.name] = play_one(row, fault)
            if path:
                save(words, path)
    finally:
        print(table(words))
    failed = [f"{row[0]}@{row[2]}/{fault}: {word}" for (row, fault), word in words.items() if word.startswith("FAIL")]
    if failed:
        raise AssertionError(f"{len(failed)} of {len(words)} cells failed:\n" + "\n".join(failed))


def table(words):
    """Faults that were not played have no column, a cell that was not played is empty."""
    names = [f.name for f in FAULTS if any(fault == f.name for _, fault in words)]
    lines = [["point", *names]]
    for row in dict.fromkeys(row for row, _ in words):
        lines.append([f"{row[0]}@{row[2]}", *(words.get((row, name), "").split("  ")[0] for name in names)])
    lines[1:] = [[cell if not cell.startswith("FAIL") else "FAIL" for cell in line] for line in lines[1:]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names) + 1)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines)


def save(words, path):
    with open(path + ".new", "w") as f:
        f.write(table(words) + "\n")
    os.replace(path + ".new", path)


def each_point_once(*areas, most=None):
    """
    One fault at each point of these areas, or at so many of them: which, is drawn; so that every fault gets its turn over the
    seeds.
    """
    if "MIGD_SANITIZE" in os.environ:
        raise migdtest.Skip("a cell takes a minute with a sanitizer: choose some with MIGD_FAULT_MATRIX for test-fault-matrix-whole")
    rows = [row for row in migd_faults.rows() if row[0].split(".")[0] in areas]
    order, first = migdtest.seed(), []
    rows = order.sample(rows, min(len(rows), most or len(rows)))
    while len(first) < len(rows):
        first += order.sample(FAULTS, len(FAULTS))
    play(list(zip(rows, first)))
