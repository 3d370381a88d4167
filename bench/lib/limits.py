# SPDX-License-Identifier: Apache-2.0
"""The machine's limit: what bench/limits.c reaches, which does as little as possible; and the kernels of bench/kernels.c."""
import json
import subprocess

CIPHER = "aes-128-gcm"
FRAMING = "none"  # what a limit of the table allows; the JSON's detail has the others


class LimitError(Exception):
    pass


def _run(program, *args):
    done = subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or not results:
        raise LimitError(f"limits {' '.join(args)}: {done.stderr.strip()}")
    wrong = [r["method"] for r in results if r.get("same") is False]
    if wrong:
        raise LimitError(f"limits: '{wrong[0]}' did not arrive as it was sent")
    return results


def transfer(program, ram, connections=1):
    """Each method once: [{"method", "framing", "gbps", "cpu_s_per_gib", ...}]."""
    return _run(program, "xfer", ram, "-c", str(connections))


def cipher_gbps():
    """What one core encrypts with AES-128-GCM in a TLS record's 16 KiB, GB/s."""
    argv = ["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", "16384", "-evp", CIPHER]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    line = next((words for words in done.stdout.splitlines() if words.lower().startswith(CIPHER)), None)
    if done.returncode or line is None or not line.endswith("k"):
        raise LimitError(f"openssl speed: {done.stderr.strip()[-200:]}")
    return float(line.split()[-1][:-1]) * 1e3 / 1e9


def one_after_the_other(a, b):
    """The rate of doing both to every byte, on one core."""
    return 1 / (1 / a + 1 / b)


def kernels(program):
    """{"zero-avx2": GB/s, "xbzrle-avx2": GB/s, ..., "xbzrle-decode": GB/s} of the kernels that this CPU has."""
    done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    if done.returncode:
        raise LimitError(f"kernels: {done.stderr.strip()}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {f"{key.removesuffix('_gbps')}-{line['kernel']}": line[key]
            for line in lines for key in line if key.endswith("_gbps")}


def zero_scan(program, ram):
    return _run(program, "zero", ram)[0]


def fault(program, n_faults=None):
    """{"p50_us", "p99_us", ...} of a page fault that another process answers over loopback TCP, and nothing else going on."""
    return _run(program, "fault", *([] if n_faults is None else [str(n_faults)]))[0]


def by_method(results, metric, framing=FRAMING):
    return {r["method"]: r[metric] for r in results if r["framing"] == framing}
