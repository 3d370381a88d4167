#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The unit files as systemd's own tools see them: without mistakes, and as closed as they claim. What a worker's sandbox
allows, the unit's allows as well."""

import os
import re
import shutil
import subprocess

import migd_process
import migdtest
from migd_process import SOURCE_DIR

EXPOSURE_MAX = 2.0
# systemd does not know its name before 256; the engine does without (base/writeback.h).
NOT_IN_THE_UNIT = {"cachestat"}


def tool(name):
    if not shutil.which(name):
        raise migdtest.Skip(f"{name} is not there (package systemd)")
    return name


def units(t):
    """Installed as they will be, but for the program's place."""
    folder = os.path.join(t.dir, "units")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(os.path.join(SOURCE_DIR, "systemd")):
        if re.search(r"\.(service\.in|socket|service|timer)$", name):
            with open(os.path.join(SOURCE_DIR, "systemd", name)) as f:
                text = f.read().replace("@CMAKE_INSTALL_FULL_SBINDIR@/migd", os.path.abspath(migd_process.program("migd")))
            with open(os.path.join(folder, name.removesuffix(".in")), "w") as f:
                f.write(text)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def test_verify(t):
    paths = units(t)
    t.check(len(paths) >= 4, f"the units are there: {paths}")
    result = subprocess.run([tool("systemd-analyze"), "verify", "--man=no", *paths], capture_output=True, text=True, timeout=60)
    t.check(result.returncode == 0 and not result.stderr.strip() and not result.stdout.strip(), f"{result}")
    # It does see mistakes.
    with open(next(p for p in paths if p.endswith("/migd.service")), "a") as f:
        f.write("\n[Service]\nProtectSystme=strict\n")
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, timeout=60)
    t.check("ProtectSystme" in result.stdout + result.stderr, f"a mistake is seen: {result}")


def test_exposure(t):
    path = next(p for p in units(t) if p.endswith("/migd.service"))
    result = subprocess.run([tool("systemd-analyze"), "security", "--offline=true", "--no-pager", path], capture_output=True,
                            text=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})
    found = re.search(r"exposure level for migd.service: ([0-9.]+)", result.stdout)
    t.check(found, f"{result}")
    print(found.group(0))
    t.check(float(found.group(1)) <= EXPOSURE_MAX, result.stdout)


def members(group):
    """The system calls of one of systemd's groups, groups within it included."""
    result = subprocess.run([tool("systemd-analyze"), "syscall-filter", "--no-pager", group], capture_output=True, text=True, timeout=60)
    t = set()
    for line in result.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            t |= members(word)
        elif word and not word.startswith("#"):
            t.add(word)
    return t


def unit_filter(path):
    allowed = set()
    with open(path) as f:
        for value in re.findall(r"^SystemCallFilter=(.*)$", f.read(), re.M):
            words = set()
            for word in value.lstrip("~").split():
                words |= members(word) if word.startswith("@") else {word}
            allowed = allowed - words if value.startswith("~") else allowed | words
    return allowed


def test_workers_have_room(t):
    """A call that the unit's filter denies, and a worker's allows, would fail only where systemd is."""
    allowed = unit_filter(next(p for p in units(t) if p.endswith("/migd.service")))
    text = ""
    for name in "sandbox", "landlock":
        with open(os.path.join(SOURCE_DIR, f"engine/{name}.c")) as f:
            text += f.read()
    wanted = set(re.findall(r"SCMP_SYS\((\w+)\)", text)) | set(re.findall(r"SYS_(landlock_\w+|capget)", text)) | {"seccomp"}
    t.check(len(wanted) > 50 and "read" in allowed, f"{len(wanted)} {len(allowed)}")
    t.check(wanted - allowed - NOT_IN_THE_UNIT == set(), f"denied by the unit: {sorted(wanted - allowed)}")


if __name__ == "__main__":
    migdtest.main(kvm=False)
