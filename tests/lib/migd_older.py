# SPDX-License-Identifier: Apache-2.0
"""The older build that this one has to get along with: the commit in tests/compat/older-commit, built once a checkout."""

import fcntl
import os
import shutil
import signal
import subprocess

from migd_process import SOURCE_DIR, wait_until
from migdtest import Skip

COMMIT_FILE = os.path.join(SOURCE_DIR, "tests", "compat", "older-commit")
FOLDER = os.path.join(SOURCE_DIR, "build", "older")
TARGETS = "migd", "migd-vmm"


def _git(*argv, **options):
    # The checkout may be another user's than the one who tests.
    return subprocess.run(["git", "-c", "safe.directory=*", "-C", SOURCE_DIR, *argv], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False, **options)


def _extract(commit, source):
    archive = source + ".tar"
    with open(archive, "wb") as f:
        done = _git("archive", commit, stdout=f)
    if done.returncode != 0:
        raise AssertionError(f"git archive: {done.stderr.decode()}")
    os.makedirs(source)
    subprocess.run(["tar", "-xf", archive, "-C", source], check=True)
    os.unlink(archive)


def _compile(source, folder):
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    log = folder + ".log"
    with open(log, "wb") as out:
        for argv in (["cmake", "-G", "Ninja", "-S", source, "-B", folder, "-DMIGD_TESTS=OFF", "-DMIGD_WERROR=OFF",
                      "-DCMAKE_BUILD_TYPE=RelWithDebInfo", *launcher],
                     ["cmake", "--build", folder, "--target", *TARGETS]):
            if subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False).returncode != 0:
                raise AssertionError(f"{' '.join(argv[:2])} failed for the older build: see {log}")


def build():
    """Its build folder, as Daemon's and Vmm's `build`. Skip: it cannot be had here."""
    with open(COMMIT_FILE) as f:
        commit = f.read().strip()
    folder = os.path.join(FOLDER, commit[:12])
    if not shutil.which("git") or _git("cat-file", "-e", commit + "^{commit}").returncode != 0:
        raise Skip(f"commit {commit[:12]}, the older build, is not in this clone's history (a shallow clone, or no git)")
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = os.path.join(folder, "done")
        if not os.path.exists(done):
            for name in os.listdir(FOLDER):
                if name != "lock":
                    subprocess.run(["rm", "-rf", os.path.join(FOLDER, name)], check=True)
            _extract(commit, folder + ".source")
            _compile(folder + ".source", folder)
            with open(done, "w"):
                pass
    return folder


def succeed(t, vmm, build, sig=signal.SIGKILL):
    """End a Vmm's daemon, and start one of that build (None: the build under test) in its place."""
    vmm.daemon.kill(sig)
    vmm.daemon.drop_session()
    vmm.daemon = t.daemon(vmm.daemon.name, build=build)
    vmm.wait_attached()


def went_on(vmm):
    """A successor found the worker of its migration."""
    wait_until(lambda: "took over" in vmm.daemon.log_text(), f"{vmm.daemon.label} finds the worker", alive=[vmm.daemon])
