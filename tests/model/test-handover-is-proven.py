#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
# TIMEOUT: 600
"""The model of the handover has the code's moves and names, spin proves its properties, and finds what is put wrong into it."""

import functools
import os
import re
import shutil
import subprocess
import tempfile

import migdtest

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "tests", "model", "handover.pml")
FAULTS = int(os.environ.get("MIGD_MODEL_FAULTS", "1"))
MEMORY_MIB = 4096  # at most, whatever is asked for


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


@functools.lru_cache(maxsize=None)
def compiled(model, postcopy, live, claim):
    """The program that looks at every state, in a folder that goes with this process."""
    for program in "spin", "gcc":
        if not shutil.which(program):
            raise migdtest.Skip(f"there is no {program}: install the package")
    folder = tempfile.TemporaryDirectory(prefix="migd-model-")
    with open(os.path.join(folder.name, "m.pml"), "w", encoding="utf-8") as f:
        f.write(model)
    for argv in (["spin", "-a", f"-DPOSTCOPY={postcopy}", "-DHOSTS=1", f"-DFAULTS={FAULTS}", "m.pml"],
                 ["gcc", "-O0", "-w", "-DCOLLAPSE", "-DNFAIR=4", f"-DMEMLIM={MEMORY_MIB}", *([] if live else ["-DSAFETY"]), *([] if claim else ["-DNOCLAIM"]), "pan.c", "-o", "pan"]):
        subprocess.run(argv, cwd=folder.name, capture_output=True, check=True)
    return folder


def check(model, formula, postcopy=0, live=True):
    """
    Whether the formula holds, and how many states were looked at. Without a formula: that everything goes on until it is at
    a state labelled as an end (which spin does not see beside fairness).
    """
    folder = compiled(model, postcopy, live, formula is not None)
    out = subprocess.run(["./pan", "-m1000000", *(["-a", "-f"] if live else []), *(["-N", formula] if formula else [])], cwd=folder.name, capture_output=True,
                         text=True, check=True).stdout
    if "max search depth too small" in out or "out of memory" in out or "reached -DMEMLIM" in out:
        raise AssertionError(f"spin did not look at everything: {out}")
    return "errors: 0" in out, int(re.search(r"(\d+) states, stored", out)[1])


def mutant(old, new):
    text = read("tests", "model", "handover.pml")
    if text.count(old) != 1:
        raise AssertionError(f"{old!r} is there {text.count(old)} times")
    return text.replace(old, new)


def test_moves_are_the_codes(t):
    code = set(re.findall(r"\{ (HANDOVER_\w+), (HANDOVER_EV_\w+), (HANDOVER_\w+) \}", read("attach", "handover.c")))
    model = set(re.findall(r":: state == (HANDOVER_\w+) && event == (HANDOVER_EV_\w+) -> state = (HANDOVER_\w+)", read("tests", "model", "handover.pml")))
    t.check(len(code) >= 15 and code == model, f"only the code has {code - model}, only the model {model - code}")


def test_names_are_the_codes(t):
    known = set(re.findall(r"\b(HANDOVER_\w+|WIRE_\w+)\b", read("attach", "handover.h") + read("engine", "wire.h")))
    used = set(re.findall(r"\b(HANDOVER_\w+|WIRE_\w+)\b", read("tests", "model", "handover.pml")))
    t.check(used and used <= known, f"the code has no {used - known}")


# The messages that ask the library for a move, and where they are admitted beyond, or short of, the table and its replays (docs/model.md).
MOVES_OF = {"HANDOVER_BEGIN": "BEGIN", "MIG_PAUSE": "PAUSE", "MIG_ABORT": "ABORT", "RELEASE": "RELEASE", "RETIRE": "RETIRE",
            "RECLAIM": "RECLAIM", "HANDOVER_LOADED": "LOADED", "ACTIVATE": "ACTIVATE", "DISCARD": "DISCARD"}
REFUSED_IN_WORDS = {("MIG_ABORT", "RELEASED")}
OPERATORS_ONLY = {("DISCARD", "LOADED")}


def test_messages_are_admitted_where_the_table_has_a_move(t):
    table = re.findall(r"\{ HANDOVER_(\w+), HANDOVER_EV_(\w+), HANDOVER_(\w+) \}", read("attach", "handover.c"))
    rows = re.findall(r"\{ ATTACH_(\w+),\s+((?:IN\(\w+\)[\s|]*)+),\s+handle_\w+ \}", read("guest", "migration.c") + read("guest", "control.c"))
    for message, states in rows:
        if message not in MOVES_OF:
            continue
        admitted = set(re.findall(r"IN\((\w+)\)", states))
        moves = [(a, b) for a, event, b in table if event == MOVES_OF[message]]
        needed = {a for a, _ in moves} - {s for m, s in OPERATORS_ONLY if m == message}
        extra = admitted - {s for move in moves for s in move} - {s for m, s in REFUSED_IN_WORDS if m == message}
        t.check(needed <= admitted and not extra, f"{message}: not admitted in {needed - admitted}, and in {extra} for no move")
    missing = set(MOVES_OF) - {message for message, _ in rows}
    t.check(not missing, f"the library has no row for {missing}")


def test_nobody_else_moves(t):
    """The page is written, and the table asked, by one function."""
    callers = []
    for folder in "attach", "guest", "engine", "daemon":
        for parent, _, names in os.walk(os.path.join(ROOT, folder)):
            for path in (os.path.join(parent, n) for n in names if n.endswith(".c")):
                callers += [os.path.relpath(path, ROOT)] * len(re.findall(r"\bhandover_next\(|page->state\b", read(path)))
    t.check(sorted(callers) == ["attach/handover.c"] * 2 + ["guest/decision.c"] * 3, f"the table or the page is used in {callers}")


def prove(t, formula, live):
    for postcopy in 0, 1:
        holds, states = check(read("tests", "model", "handover.pml"), formula, postcopy, live=live)
        print(f"{formula or 'no dead end'}, post-copy {postcopy}, {FAULTS} fault(s): {states} states")
        t.check(holds and states > 1000, f"{formula or 'no dead end'} does not hold (post-copy {postcopy}); spin -t shows how")


def test_one_side_runs(t):
    prove(t, "one_side", live=False)


def test_there_is_a_way_out(t):
    prove(t, "way_out", live=True)


def test_nobody_is_stuck(t):
    prove(t, None, live=False)


def test_nothing_is_lost(t):
    prove(t, "not_lost", live=True)


def test_a_source_that_does_not_ask_is_found_out(t):
    wrong = mutant(":: broken(mine) -> goto doubt", ":: broken(mine) -> operator_said_run = true; goto reclaim")
    t.check(not check(wrong, "one_side", live=False)[0], "a source that takes its guest back when the connection breaks goes unnoticed")


def test_a_target_that_does_not_discard_is_found_out(t):
    wrong = mutant(":: target_vmm && target == HANDOVER_LOADED && !told -> move(target, HANDOVER_EV_ACTIVATE)",
                   ":: target_vmm && target == HANDOVER_LOADED -> move(target, HANDOVER_EV_ACTIVATE)\n"
                   "\t\t:: target_vmm && told && target == HANDOVER_DISCARDED -> target = HANDOVER_RUNNING")
    wrong = wrong.replace(":: m == WIRE_CMD_ASK -> answer_ask()\n", ":: m == WIRE_CMD_ASK -> answer_ask(); answer_commit()\n")
    t.check(not check(wrong, "one_side", live=False)[0], "a target that runs what it said that it never will goes unnoticed")


def test_a_target_that_is_not_told_is_found_out(t):
    wrong = mutant(":: atomic { source_reaped && source_host && source_daemon_up && source == HANDOVER_RUNNING &&",
                   ":: atomic { false && source_reaped && source == HANDOVER_RUNNING &&")
    t.check(not check(wrong, None, live=False)[0], "a target that waits for COMMIT, and whose source's worker was killed, finds out by itself, which cannot be")


def test_without_an_operator_there_is_none(t):
    wrong = mutant(":: atomic { !target_host && source_daemon_up && source_vmm && source == HANDOVER_RELEASED ->", ":: atomic { false ->")
    t.check(not check(wrong, None, live=False)[0], "a source whose target's host is lost finds out by itself, which cannot be")


migdtest.main()
