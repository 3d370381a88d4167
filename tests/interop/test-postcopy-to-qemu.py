#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""Post-copy to a RAM-only QEMU: the guest runs there before its memory is there, and what QEMU touches comes first."""

import os

import migd_certs
import migd_pattern
import migd_qemu
import migdtest
from migd_process import wait_until

MEMORY = "16M"
SIZE = 16 << 20
SLOW = 256 << 10  # bytes/s: a minute for all of the memory


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)
    if not os.path.exists("/dev/userfaultfd"):
        raise migdtest.Skip("/dev/userfaultfd is missing: QEMU cannot do post-copy here")


def sides(t, version, pattern="mixed", **capabilities):
    need(version)
    src = t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK)
    migd_pattern.write(src.memory_file, pattern)
    src.set_capabilities(postcopy_ram=True, **capabilities)
    if version == "7.2":
        src.set(peer_version="qemu-7")
    dst = migd_qemu.Qemu(t, version, MEMORY, incoming=True, capabilities={"postcopy_ram": True, **capabilities})
    return src, dst


def switch(t, src, dst, uri="tcp:127.0.0.1:0", **parameters):
    """Into post-copy at once, before pre-copy has sent much."""
    src.set(max_bandwidth=1 << 20, **parameters)
    src.command("migrate", {"uri": dst.listen(uri)})
    src.command("migrate-start-postcopy")
    wait_until(lambda: src.migration()["status"] in ("postcopy-active", "completed"), "the guest runs in QEMU", alive=[src.daemon, dst])


def touch(dst, start, length):
    """QEMU reads its own memory, and so waits for what is missing of it; what it read."""
    path = os.path.join(os.path.dirname(dst.memory_file), f"{start:x}.part")
    dst.command("pmemsave", {"val": start, "size": length, "filename": path})
    with open(path, "rb") as f:
        return f.read()


def completed(t, src, dst, before):
    for side in src, dst:
        info = t.wait_end_of(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.check(dst.run_state() == "running", f"QEMU's guest is {dst.run_state()}")
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes are in QEMU")
    t.check(src.wait_exit() == 0, "the source's VMM ends")


def at_once(t, version, uri="tcp:127.0.0.1:0", **capabilities):
    src, dst = sides(t, version, **capabilities)
    before = migd_pattern.digest(src.memory_file)
    switch(t, src, dst, uri)
    completed(t, src, dst, before)


def share_key(t, src, dst):
    """TLS with a shared key on all connections."""
    for side, qmp, end in (src, src.daemon.qmp, "client"), (dst, dst.qmp, "server"):
        directory = migd_certs.psk(os.path.join(t.dir, end), {"qemu": "6d6967642f716571"})
        qmp.command("object-add", {"qom-type": "tls-creds-psk", "id": "tls0", "dir": directory, "endpoint": end,
                                   **({"username": "qemu"} if end == "client" else {})})
        side.command("migrate-set-parameters", {"tls-creds": "tls0"})


def requested(t, version, tls=False, **capabilities):
    src, dst = sides(t, version, **capabilities)
    if tls:
        share_key(t, src, dst)
    before = migd_pattern.digest(src.memory_file)
    with open(src.memory_file, "rb") as f:
        wanted = f.read()
    switch(t, src, dst, max_postcopy_bandwidth=SLOW)
    for start in (12 << 20, 5 << 20, SIZE - 65536):
        t.check(touch(dst, start, 65536) == wanted[start:start + 65536], f"what QEMU reads at {start:#x} is right")
    info = src.migration()
    t.check(info["status"] == "postcopy-active", f"the background is slow: {info}")
    t.check(info["ram"]["postcopy-requests"] > 3, f"QEMU asked for pages: {info}")
    t.check(info["postcopy"]["prefetched"] > 3, f"and got those behind them, too: {info}")
    src.set(max_postcopy_bandwidth=0)
    completed(t, src, dst, before)


def freed(t, version):
    """Capability release-ram: QEMU says what it has, and that is freed."""
    src, dst = sides(t, version, release_ram=True)
    before, allocated = migd_pattern.digest(src.memory_file), src.allocated()
    switch(t, src, dst, max_postcopy_bandwidth=2 << 20)
    wait_until(lambda: src.allocated() < allocated - (2 << 20), "something is freed", alive=[src, dst])
    src.set(max_postcopy_bandwidth=0)
    completed(t, src, dst, before)


def test_7_2(t):
    at_once(t, "7.2")


def test_7_2_requests(t):
    requested(t, "7.2")


def test_7_2_release_ram(t):
    freed(t, "7.2")


def test_10_0_over_unix(t):
    at_once(t, "10.0", uri=f"unix:{t.dir}/there")


def test_10_0_requests(t):
    requested(t, "10.0")


def test_10_0_release_ram(t):
    freed(t, "10.0")


def test_10_0_requests_on_a_channel_of_their_own(t):
    requested(t, "10.0", postcopy_preempt=True)


def test_10_0_requests_under_tls(t):
    requested(t, "10.0", tls=True, postcopy_preempt=True)


def test_10_0_asks_for_what_was_never_touched(t):
    src, dst = sides(t, "10.0", pattern="hole")
    with open(src.memory_file, "r+b") as f:
        f.seek(1 << 20)
        f.write(b"\x01" * (4 << 20))
    before = migd_pattern.digest(src.memory_file)
    switch(t, src, dst, max_postcopy_bandwidth=SLOW)
    t.check(touch(dst, 9 << 20, 8192) == bytes(8192), "a hole reads as zeros")
    src.set(max_postcopy_bandwidth=0)
    completed(t, src, dst, before)


def test_10_0_that_cannot_load(t):
    """It says so before it says that all devices are loaded: the guest was released, and comes back."""
    src, dst = sides(t, "10.0")
    link = t.proxy(int(dst.listen("tcp:127.0.0.1:0").rpartition(":")[2]))
    packaged = []

    def fail(direction, name, _count, _piece):
        if name == "cmd-packaged":
            packaged.append(name)
        return b"\0\x01\0\x04\0\0\0\x01" if packaged and direction == "back" and name == "reply-pong" else None
    link.rewrite = fail
    src.set(max_bandwidth=1 << 20)
    src.command("migrate", {"uri": link.uri})
    src.command("migrate-start-postcopy")
    t.assert_failed(src, "could not load the guest", "runs here again")
    t.check(src.run_state() == "running", "the guest runs at the source")


def refused(t, src, dst, *words):
    src.command("migrate", {"uri": dst.listen("tcp:127.0.0.1:0")})
    t.assert_failed(src, *words)
    t.check(src.run_state() == "running", "the guest goes on at the source")


def test_multifd_is_refused(t):
    src, dst = sides(t, "7.2", multifd=True)
    refused(t, src, dst, "postcopy-ram", "multifd")


def test_an_early_channel_for_urgent_pages_is_refused(t):
    src, dst = sides(t, "7.2", postcopy_preempt=True)
    refused(t, src, dst, "postcopy-preempt", "8.0")


migdtest.main()
