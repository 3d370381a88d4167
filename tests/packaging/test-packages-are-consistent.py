#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""What the packages say twice, they say alike: versions, symbols, units; and the maintainer scripts are shell."""

import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("MIGD_SOURCE_DIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ["MIGD_BUILD_DIR"]
SCRIPTS = "postinst", "prerm", "postrm"


def read(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as f:
        return f.read()


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def test_versions():
    project = re.search(r"^project\(migd VERSION ([\d.]+)", read("CMakeLists.txt"), re.M).group(1)
    debian = re.match(r"migd \(([^)]+)\)", read("packaging/changelog")).group(1)
    released = re.findall(r"^## \[(\d[^]]*)\]", read("CHANGELOG.md"), re.M)
    check(debian == project, f"packaging/changelog is of {debian}, the project of {project}")
    check(released and released[0] == project, f"CHANGELOG.md begins with {released[:1]}, the project is {project}")


def test_symbols():
    """packaging/symbols, which other packages' dependencies are made of, has what the library's map exports."""
    mapped = set(re.findall(r"^\t\t(migd_guest_\w+);", read("guest/libmigd-guest.map"), re.M))
    listed = set(re.findall(r"^ (migd_guest_\w+)@MIGD_GUEST_[\d.]+ [\d.]+$", read("packaging/symbols"), re.M))
    check(listed == mapped, f"only in packaging/symbols: {listed - mapped}; only in the map: {mapped - listed}")
    done = subprocess.run(["readelf", "-d", os.path.join(BUILD, "guest", "libmigd-guest.so")], stdout=subprocess.PIPE, text=True,
                          check=True)
    soname = re.search(r"soname: \[(.*)\.so\.(\d+)\]", done.stdout)
    library, version = soname.group(1), soname.group(2)
    check(read("packaging/symbols").startswith(f"{library}.so.{version} {library}{version} "), "packaging/symbols: the soname")
    check(read("packaging/shlibs").split() == [library, version, library + version], "packaging/shlibs: the soname")


def test_scripts():
    for name in SCRIPTS:
        path = os.path.join(SOURCE, "packaging", name)
        check(os.access(path, os.X_OK), f"{path} is executable")
        check(read(path).startswith("#!/bin/sh\n") and "\nset -e\n" in read(path), f"{path}: sh that ends on errors")
        subprocess.run(["sh", "-n", path], check=True)


def test_units():
    """The units that the scripts name are installed."""
    named = {unit for name in SCRIPTS for unit in re.findall(r"\bmigd[\w@-]*\.(?:service|socket|slice)\b", read(f"packaging/{name}"))}
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["cmake", "--install", BUILD, "--component", "migd"], env={**os.environ, "DESTDIR": root}, check=True,
                       stdout=subprocess.DEVNULL)
        installed = {file for _, _, files in os.walk(root) for file in files}
    check(named and named <= installed, f"not installed: {named - installed}")


def main():
    for name, function in list(globals().items()):
        if name.startswith("test_"):
            function()
            print(f"{name}: passed")


if __name__ == "__main__":
    sys.exit(main())
