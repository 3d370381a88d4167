#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The manual page has every command and option that migctl has, and is well-formed."""

import os
import re
import shutil
import subprocess

import migd_ctl
import migdtest

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "man", "migctl.1")


def text():
    with open(PAGE, encoding="utf-8") as f:
        return f.read()


def verbs(t):
    """As the overview lists them, and what each one's help says."""
    status, out, _ = migd_ctl.run("/nonexistent", "--help")
    t.check(status == 0, out)
    names = re.findall(r"^  ([a-z][a-z-]*)(?: |$)", out.split("\nOptions of all")[0], re.M)
    t.check("migrate" in names and "resolve" in names and len(names) > 20, f"{names}")
    return {name: migd_ctl.run("/nonexistent", "help", name)[1] for name in names}


def test_it_is_what_the_tables_say(t):
    done = subprocess.run([os.path.join(ROOT, "scripts", "update-manual"), "--check", migd_ctl.program("migctl")],
                          capture_output=True, text=True)
    t.check(done.returncode == 0, done.stderr)


def test_every_command_and_option_is_there(t):
    page = text().replace("\\-", "-")
    for verb, explained in verbs(t).items():
        t.check(f"\n\\fB{verb}\\fR" in page, f"{verb} is missing")
        options = re.findall(r"--([a-z][a-z-]+)", explained.split("\nOptions\n")[1].split("\n\n")[0])
        t.check({"socket", "json", "help"} <= set(options), f"{verb}: {options}")
        for option in options:
            t.check(f"--{option}" in page, f"{verb}: --{option} is missing")


def test_help_is_whole(t):
    """Each command says what it does, has an example, and names only commands that there are."""
    known = verbs(t)
    for verb, explained in known.items():
        t.check("\nUsage: migctl [OPTION]... " + verb in explained and "\nExamples\n" in explained, explained)
        see = re.search(r"\nSee also\n(.*)\n", explained)
        for other in re.findall(r"migctl help ([a-z-]+)", see.group(1) if see else ""):
            t.check(other in known, f"{verb}: there is no '{other}'")
        for example in re.findall(r"migctl (?:-\S+ (?:web1 )?|--json )*([a-z][a-z-]*)", explained.split("\nExamples\n")[1].split("\n\n")[0]):
            t.check(example in known, f"{verb}: the example runs '{example}'")


def test_mandoc_has_no_complaint(t):
    if not shutil.which("mandoc"):
        raise migdtest.Skip("mandoc is not installed (package mandoc)")
    done = subprocess.run(["mandoc", "-Tlint", "-W", "style", PAGE], capture_output=True, text=True)
    t.check(done.returncode == 0 and not done.stdout, done.stdout)


migdtest.main(kvm=False)
