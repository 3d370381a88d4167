#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""A worker proves who its host is without ever having the key: during a real migration with TLS no form of the key is anywhere
in the memory of the process that reads the peer's bytes, on either side. In the daemon's memory the same search finds it."""

import base64
import os
import re

import migd_certs
import migd_reports
import migd_tls
import migdtest

PIECE = 16 << 20


def numbers(key):
    """The private numbers of a key, big-endian: EC's scalar, or RSA's d, p and q."""
    text = migd_certs.openssl("pkey", "-in", key, "-noout", "-text")
    found = re.findall(r"^(priv|privateExponent|prime1|prime2):\n((?:    .*\n)+)", text, re.M)
    return {name: bytes.fromhex(re.sub(r"[\s:]", "", digits)).lstrip(b"\0") for name, digits in found}


def forms(key):
    """{what: bytes} to look for."""
    with open(key) as f:
        lines = f.read().splitlines()[1:-1]
    der = base64.b64decode("".join(lines))
    wanted = {"PEM": lines[1].encode() if len(lines) > 2 else lines[0].encode(), "DER": der[-96:] if len(der) > 300 else der}
    for name, value in numbers(key).items():
        wanted[name] = value
        wanted[name + ", little-endian"] = value[::-1]
    return wanted


def found_in(pid, wanted):
    """Which of them are in the process's memory. Guest RAM is there as well, and is looked at as the rest."""
    found, longest, looked_at = set(), max(map(len, wanted.values())), 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            first, end = (int(word, 16) for word in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or end > 1 << 63:
                continue
            for at in range(first, end, PIECE):
                try:
                    mem.seek(at)
                    piece = mem.read(min(PIECE + longest, end - at))
                except OSError:
                    continue
                looked_at += len(piece)
                found |= {what for what, value in wanted.items() if value in piece}
    return found, looked_at


def check(t, kind):
    migdtest.need_root()
    if migd_reports.INSTRUMENTED:
        raise migdtest.Skip("a sanitizer's shadow memory is terabytes, valgrind's is slow; the debug build's processes are searched")
    src, dst = t.pair(working_set="4M")
    creds = migd_tls.x509(t, src, dst, ["IP:127.0.0.1"], kind=kind)
    for vmm in src, dst:
        vmm.set_capabilities(multifd=True)
    t.fill(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    for vmm, end in (src, "client"), (dst, "server"):
        wanted = forms(os.path.join(creds.dirs[vmm], f"{end}-key.pem"))
        t.check(len(wanted) >= 4, f"the key was read: {list(wanted)}")
        found, looked_at = found_in(vmm.worker(), wanted)
        there, _ = found_in(vmm.daemon.pid, wanted)
        print(f"{kind} {end}: of {len(wanted)} forms {len(there)} in the daemon ({', '.join(sorted(there))}), {len(found)} in the "
              f"worker, {looked_at >> 20} MiB looked at")
        t.check(there, "the search finds the key where it is")
        t.check(looked_at > 1 << 20 and not found, f"the worker at the {end} has the key: {found}")
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", "the migration goes on")
    t.assert_only_runs(dst, src)


def test_ec(t):
    check(t, "ec")


def test_rsa(t):
    check(t, "rsa")


if __name__ == "__main__":
    migdtest.main()
