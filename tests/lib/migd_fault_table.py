# SPDX-License-Identifier: Apache-2.0
"""Plays cells of the fault matrix one after the other, and prints what came of them as a table: points down, faults across."""

import concurrent.futures
import os
import re
import subprocess
import sys
import time
import traceback

import migd_faults
import migd_reports
import migdtest
from migd_faults import FAULTS, NotReached
from migd_process import SOURCE_DIR


def row_name(row):
    """POINT@WHO, and which migration if there are several."""
    point, scenario, who = row
    several = sum(w == who for _, w in migd_faults.PLACES[point]) > 1
    return f"{point}@{who}" + (f".{scenario}" if several else "")


def play_one(row, fault, tries=3):
    """
    What the table says about a cell; the logs are printed if it failed. A migration may end on the way to the point, as where the
    library got no answer from KVM in ten seconds: then it is tried again.
    """
    name = f"{row_name(row)}/{fault.name}"
    t = migdtest.Test(name)
    began = time.monotonic()
    try:
        word = migd_faults.play(t, *row, fault)
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


def play(cells):
    """Play [(row, fault)], and print their table."""
    words = {}
    try:
        for row, fault in cells:
            words[row_name(row), fault.name] = play_one(row, fault)
    finally:
        print(table(words))
    judge(words)


def play_apart(name, faults, chosen):
    """
    The words of a row's cells, those of FAULTS, which the regular expression chooses: played by a process of its own, which says
    them. A cell of which it said nothing failed.
    """
    program = os.path.join(SOURCE_DIR, "tests", "faults", "test-fault-matrix-whole.py")
    env = {**os.environ, "MIGD_FAULT_MATRIX": chosen, "MIGD_FAULT_ROW": name}
    done = subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, errors="replace", check=False)
    print(done.stdout, done.stderr, sep="", end="", flush=True)
    said = dict(re.findall(rf"^{re.escape(name)}/(\S+): (.*) \([\d.]+ s\)$", done.stdout, re.M))
    return {(name, fault): said.get(fault, f"FAIL nothing was said of it, status {done.returncode}") for fault in faults}


def play_rows(rows, chosen, jobs, path):
    """Play {row's name: its faults}, so many at a time; the table goes to the output, and to a file as it grows."""
    words = {}
    executor = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        for future in concurrent.futures.as_completed([executor.submit(play_apart, name, faults, chosen) for name, faults in rows.items()]):
            words.update(future.result())
            save(words, path)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # a test that is ended ends its children
    print(table(words))
    judge(words)


def judge(words):
    failed = [f"{row}/{fault}: {word}" for (row, fault), word in words.items() if word.startswith("FAIL")]
    if failed:
        raise AssertionError(f"{len(failed)} of {len(words)} cells failed:\n" + "\n".join(failed))


def table(words):
    """Faults that were not played have no column, a cell that was not played is empty."""
    names = [f.name for f in FAULTS if any(fault == f.name for _, fault in words)]
    lines = [["point", *names]]
    for row in dict.fromkeys(row for row, _ in words):
        lines.append([row, *(words.get((row, name), "").split("  ")[0] for name in names)])
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
    if migd_reports.INSTRUMENTED:
        raise migdtest.Skip("a cell takes a minute with a sanitizer or valgrind: choose some with MIGD_FAULT_MATRIX for "
                            "test-fault-matrix-whole")
    rows = [row for row in migd_faults.rows() if row[0].split(".")[0] in areas]
    order, first = migdtest.seed(), []
    rows = order.sample(rows, min(len(rows), most or len(rows)))
    while len(first) < len(rows):
        first += order.sample(FAULTS, len(FAULTS))
    play(list(zip(rows, first)))
