#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""migd.conf(5) and the example file have every key; the example is right, and what it shows are the defaults."""

import os
import re
import shutil
import subprocess

import migd_process
import migdtest


def made(name):
    """A file that the build makes from the schema."""
    with open(os.path.join(migd_process.BUILD_DIR, "gen", "docs", name), encoding="utf-8") as f:
        return f.read()


def printed(t, *arguments):
    result = subprocess.run([migd_process.program("migd"), "--print-config", *arguments], cwd=t.dir, capture_output=True,
                            text=True, timeout=20)
    t.check(result.returncode == 0, f"{result}")
    return re.sub(r"^# .*\n", "", result.stdout, flags=re.M)


def keys(text):
    """[(section, key)] of a file."""
    found, section = [], None
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line:
            found.append((section, line.partition("=")[0].strip()))
    return found


def test_example_shows_the_defaults(t):
    example = made("migd.conf")
    with open(os.path.join(t.dir, "as-it-is"), "w", encoding="utf-8") as f:
        f.write(example)
    with open(os.path.join(t.dir, "taken"), "w", encoding="utf-8") as f:
        f.write(re.sub(r"^#([a-z-]+ =)", r"\1", example, flags=re.M))
    defaults = printed(t)
    t.check(len(keys(defaults)) > 30, "the keys are found")
    t.check(printed(t, "--config", "as-it-is") == defaults, "the example says something")
    t.check(printed(t, "--config", "taken") == defaults, "a default in the example is not the default")
    with open(os.path.join(t.dir, "taken"), encoding="utf-8") as f:
        t.check(keys(re.sub(r"^#.*\n", "", f.read(), flags=re.M)) == keys(defaults), "the example lacks a key")


def test_manual_page_has_every_key(t):
    page = made("migd.conf.5")
    t.check("@KEYS@\n" not in page, "the keys are put in")
    for section, key in keys(printed(t)):
        part = page.partition(f".SS [{section}]\n")[2].partition(".SS")[0]
        t.check(f".B {key.replace('-', chr(92) + '-')}\n" in part, f"[{section}] {key} is not in migd.conf(5)")


def test_manual_pages_are_sound(t):
    if not shutil.which("groff"):
        raise migdtest.Skip("groff is not installed, which formats manual pages")
    with open(os.path.join(migd_process.SOURCE_DIR, "docs/man/migd.8"), encoding="utf-8") as f:
        pages = {"migd.8": f.read(), "migd.conf.5": made("migd.conf.5")}
    for name, text in pages.items():
        result = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True, timeout=60)
        t.check(result.returncode == 0 and result.stderr == "", f"{name}: {result.stderr}")


def test_options_are_in_the_manual_page(t):
    out = subprocess.run([migd_process.program("migd"), "--help"], capture_output=True, text=True, timeout=20).stdout
    with open(os.path.join(migd_process.SOURCE_DIR, "docs/man/migd.8"), encoding="utf-8") as f:
        page = f.read().replace("\\-", "-")
    for option in re.findall(r"^  (--[a-z-]+)", out, re.M):
        t.check(option in page, f"{option} is not in migd(8)")


migdtest.main(kvm=False)
