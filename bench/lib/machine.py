# SPDX-License-Identifier: Apache-2.0
"""Where the numbers come from: this machine, the programs' versions, the sizes of the run."""
import os
import subprocess
import time


def _first(path, key):
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    return None


def _read(path):
    try:
        with open(path, encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return None


def _output(argv, cwd=None):
    try:
        return subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def describe(root, sizes):
    qemu = _output(["qemu-system-x86_64", "--version"])
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": _first("/proc/cpuinfo", "model name"),
        "n_cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
        "kernel": os.uname().release,
        "shmem_enabled": _read("/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
        "load_before": round(os.getloadavg()[0], 2),
        "migd": _output(["git", "describe", "--always", "--dirty"], root),
        "qemu": qemu.splitlines()[0] if qemu else None,
        "sizes": sizes,
    }
