#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""What is installed is enough: a VMM compiled with pkg-config's flags, or by find_package(), runs a guest and migrates it."""

import os
import re
import shutil
import subprocess
import sys

import migdtest
from migd_process import BUILD_DIR, SOURCE_DIR, Process, wait_until

EXAMPLES = os.path.join(SOURCE_DIR, "examples")
COMPONENTS = "libmigd-guest1", "libmigd-guest-dev"
CMAKE_PROJECT = """cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES C)
find_package(migd-guest REQUIRED)
foreach(kind guest guest-static)
  add_executable(with-${kind} %s/small-vmm.c)
  target_link_libraries(with-${kind} PRIVATE migd::${kind})
endforeach()
"""


def run(*argv, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}")
    return done.stdout.strip()


def install(t):
    """The library as installed under a folder of this test."""
    root = os.path.join(t.dir, "root")
    for component in COMPONENTS:
        run("cmake", "--install", BUILD_DIR, "--component", component, env={**os.environ, "DESTDIR": root})
    found = [folder for folder, _, files in os.walk(root) if "migd-guest.pc" in files]
    t.check(len(found) == 1, f"migd-guest.pc is installed once: {found}")
    return root, found[0]


def library_env(pc_dir):
    return {"LD_LIBRARY_PATH": os.path.dirname(pc_dir)}


def pkg_config(root, pc_dir, *what):
    env = {**os.environ, "PKG_CONFIG_LIBDIR": pc_dir, "PKG_CONFIG_SYSROOT_DIR": root}
    return run("pkg-config", *what, "migd-guest", env=env).split()


def compile_example(t, name, *flags):
    path = os.path.join(t.dir, name)
    run("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", os.path.join(EXAMPLES, name + ".c"), *flags, "-o", path)
    return path


class SmallVmm(Process):
    def __init__(self, t, label, program, daemon, env, *more):
        self.daemon = daemon
        super().__init__(t, label, [program, "small", daemon.attach_path, *more], env=env)
        wait_until(lambda: (daemon.guest("small") or {}).get("attached"), f"{label} attaches", alive=[self, daemon])

    def command(self, name, arguments=None):
        return self.daemon.qmp.command(name, arguments)

    def migration(self):
        return self.command("query-migrate")

    def counts(self):
        return [int(n) for n in re.findall(r"^count (\d+)$", self.log_text(), re.M)]


def migrates(t, source_program, target_program, env):
    a, b = t.daemon("a"), t.daemon("b")
    src = SmallVmm(t, "source", source_program, a, env)
    dst = SmallVmm(t, "target", target_program, b, env, "incoming")
    wait_until(lambda: len(src.counts()) >= 2, "the guest counts", alive=[src])
    t.migrate(src, dst)
    t.check(src.wait_exit() == 0 and "moved elsewhere" in src.log_text(), f"the source ends well: {src.log_text()}")
    wait_until(lambda: len(dst.counts()) >= 2, "the guest goes on counting", alive=[dst])
    seen = src.counts() + dst.counts()
    t.check(seen == sorted(set(seen)) and seen[0] > 0, f"it went on from where it was: {seen}")


def need_no_sanitizer():
    if os.environ.get("MIGD_SANITIZE"):
        raise migdtest.Skip("built with sanitizers: an outside program would need their run-time")


def test_pkg_config(t):
    need_no_sanitizer()
    root, pc_dir = install(t)
    flags = pkg_config(root, pc_dir, "--cflags", "--libs")
    vmm = compile_example(t, "small-vmm", *flags, "-pthread")
    needed = run("readelf", "-d", vmm)
    t.check("[libmigd-guest.so.1]" in needed, f"it is linked by soname:\n{needed}")
    countdown = compile_example(t, "countdown", *flags)
    run(countdown, env={**os.environ, **library_env(pc_dir)})
    migrates(t, vmm, vmm, library_env(pc_dir))


def test_cmake_package(t):
    """The shared library at the source, the static one at the target."""
    need_no_sanitizer()
    root, pc_dir = install(t)
    project, build = os.path.join(t.dir, "outside"), os.path.join(t.dir, "outside-build")
    os.makedirs(project)
    with open(os.path.join(project, "CMakeLists.txt"), "w") as f:
        f.write(CMAKE_PROJECT % EXAMPLES)
    run("cmake", "-S", project, "-B", build, f"-Dmigd-guest_DIR={os.path.dirname(pc_dir)}/cmake/migd-guest")
    run("cmake", "--build", build)
    migrates(t, os.path.join(build, "with-guest"), os.path.join(build, "with-guest-static"), library_env(pc_dir))


if not shutil.which("pkg-config"):
    print("test-installed-library: SKIPPED: pkg-config is not installed")
    sys.exit(77)
migdtest.main()
