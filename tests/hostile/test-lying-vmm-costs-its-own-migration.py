#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 600
"""A VMM that lies to its worker, at the source or at the destination: its own migration fails with an error, its guest runs where it
was, the daemons go on, leave nothing behind, and meanwhile move another guest."""

import contextlib
import os
import signal
import struct
import time

import migd_liar
import migdtest
from migd_liar import Blocks, pack
from migd_process import SLOW, wait_until

OPTIONS = {"memory": "48M", "working_set": "2M"}
FAR = (1 << 64) - 4096


def attached(daemon, name):
    return (daemon.guest(name) or {}).get("attached")


def end(vmm):
    """However long the kernel takes to take a VM apart."""
    if vmm.running():
        vmm.signal(signal.SIGKILL)
        vmm.wait_exit(60)


class Stage:
    """Two daemons, a bystander that goes to and fro between them, and a liar whose side is chosen."""

    def __init__(self, t):
        self.t = t
        self.a, self.b = t.daemon("a"), t.daemon("b")
        self.bystander = t.vmm(self.a, name="bystander", **OPTIONS)
        self.migrate_bystander()
        # Once without a lie: a daemon remembers what became of a guest that is gone, and has two descriptors for it.
        self.lie("the truth", lambda liar: lambda m: None, ends=("completed",))
        self.baseline = self.descriptors()

    def descriptors(self):
        """What both daemons have open, between them: the bystander's are now here, now there."""
        for daemon in self.a, self.b:
            wait_until(lambda d=daemon: not d.workers(), "no worker is left", timeout=90)
        return sorted(self.a.fds() + self.b.fds())

    def end(self):
        """A source goes on telling its destination for a while that the guest does not come: ABORT_PATIENCE_MS."""
        for daemon in self.a, self.b:
            self.t.check(daemon.running(), f"{daemon.name} lives")
        wait_until(lambda: len(self.descriptors()) <= len(self.baseline), "no descriptor is left open", timeout=30)

    def migrate_bystander(self):
        there = self.b if self.bystander.daemon is self.a else self.a
        arrived = self.t.incoming(there, OPTIONS, name="bystander", attached=False)
        wait_until(lambda: attached(there, "bystander"), "it waits there", timeout=90, alive=[arrived, there])
        self.t.migrate(self.bystander, arrived)
        self.t.assert_only_runs(arrived, self.bystander)
        end(self.bystander)
        wait_until(lambda: not attached(self.bystander.daemon, "bystander"), "the old one is gone")
        self.bystander = arrived

    def lie(self, what, lie, *words, at_source=True, before=None, ends=("failed",), **capabilities):
        """One migration of the liar's guest, which fails with one of these words. before(liar, src): while it runs."""
        t = self.t
        liar = migd_liar.Liar(t, self.a if at_source else self.b)
        if at_source:
            src, dst = liar.vmm(**OPTIONS), t.incoming(self.b, OPTIONS, name="liar")
        else:
            src, dst = t.vmm(self.a, name="liar", **OPTIONS), liar.vmm(**OPTIONS, incoming=True)
        t.assert_runs(src)
        liar.lie = lie(liar)
        for vmm in src, dst:
            vmm.set_capabilities(**capabilities)
        if before:
            t.make_slow(src)
        t.start(src, dst)
        if before:
            t.wait_active(src)
            before(liar, src)
        self.migrate_bystander()
        info = t.wait_end(src)
        text = info.get("error-desc", "")
        print(f"{what}: {text}")
        t.check(info["status"] in ends and (text or info["status"] != "failed"), f"{what}: {ends}, not {info}")
        t.check(not words or any(word in text for word in words), f"{what}: {text!r} says none of {words}")
        liar.lie = lambda m: None
        if info["status"] == "failed":
            t.assert_runs(src)
        for vmm in src, dst:
            end(vmm)
        for daemon in self.a, self.b:
            t.check(daemon.running(), f"{what}: {daemon.name} lives")
            wait_until(lambda d=daemon: not attached(d, "liar"), "the liar is gone")


def on_reply(kind, change):
    """A lie about replies of one type: change(m) is what is said."""
    return lambda liar: lambda m: change(m) if m.type == kind and m.reply_to and not m.error else None


def table(field=None, value=None, change=None):
    """The first RAM block with another number, or changed as a whole."""
    def changed(m):
        blocks = Blocks(m.body)
        if change:
            change(blocks)
        else:
            blocks.blocks[0][1][field] = value
        return [(pack(m, blocks.pack()), m.fds)]
    return on_reply(migd_liar.RAM_TABLE, changed)


def memory(make):
    """The first RAM block's descriptor is make(liar, its length)."""
    def lie(liar):
        def say(m):
            if m.type != migd_liar.RAM_TABLE or not m.reply_to:
                return None
            return [(pack(m), [make(liar, Blocks(m.body).blocks[0][1][0]), *m.fds[1:]])]
        return say
    return lie


def maps(make):
    """DIRTY_START's maps are make(liar, size of the real one)."""
    def lie(liar):
        def say(m):
            if m.type != migd_liar.DIRTY_START or not m.reply_to:
                return None
            return [(pack(m), [make(liar, fd) for fd in m.fds])]
        return say
    return lie


def kept(liar, fd):
    liar.made.append(fd)
    return fd


def test_sizes(t):
    stage = Stage(t)
    LEN, OFFSET, _BASE, _GPA, PAGE = range(5)
    for side in True, False:
        stage.lie("a length of twice the memory", table(LEN, 96 << 20), at_source=side)
        stage.lie("a length of nothing", table(LEN, 0), at_source=side)
        stage.lie("half a page", table(LEN, 2048), at_source=side)
        stage.lie("a length of all there is", table(LEN, FAR), at_source=side)
        stage.lie("behind the end", table(OFFSET, FAR), at_source=side)
    stage.lie("pages of three bytes", table(PAGE, 3))
    stage.lie("pages of an exabyte", table(PAGE, 1 << 60))
    stage.lie("more blocks than come", table(change=lambda b: setattr(b, "total", 7)))
    stage.lie("a million blocks", table(change=lambda b: setattr(b, "total", 1_000_000)))
    stage.lie("the same block again", table(change=lambda b: b.blocks.append(b.blocks[0])))
    stage.lie("no block", table(change=lambda b: b.blocks.clear()))
    stage.end()


def test_descriptors(t):
    stage = Stage(t)
    null = os.open("/dev/null", os.O_RDWR)
    t.cleanup.callback(os.close, null)
    for side in True, False:
        stage.lie("memory of one page", memory(lambda liar, n: liar.memory(4096)), at_source=side)
        stage.lie("memory that is /dev/null", memory(lambda liar, n: null), at_source=side)
        stage.lie("memory that is a socket", memory(lambda liar, n: liar.socket_fd()), at_source=side)
        stage.lie("memory that is a folder", memory(lambda liar, n: kept(liar, os.open("/", os.O_RDONLY))), at_source=side)
    stage.lie("more descriptors than blocks", on_reply(migd_liar.RAM_TABLE, lambda m: [(pack(m, nfds=60), [null] * 60)]))
    stage.lie("fewer descriptors than said", on_reply(migd_liar.RAM_TABLE, lambda m: [(pack(m, nfds=60), m.fds)]))
    stage.lie("a flood of descriptors", on_reply(migd_liar.RAM_TABLE, lambda m: [(pack(m, nfds=253), [null] * 253)]))
    stage.lie("descriptors with every word", lambda liar: lambda m: [(pack(m), [*m.fds, *[null] * 200])] if m.reply_to else None)
    stage.end()


def test_dirty_maps(t):
    stage = Stage(t)
    stage.lie("no map", maps(lambda liar, fd: liar.memory(0, sealed=True)), "dirty map")
    stage.lie("a map that may shrink", maps(lambda liar, fd: liar.memory(os.fstat(fd).st_size)), "no sealed memfd")
    stage.lie("a map of nothing", maps(lambda liar, fd: liar.memory(os.fstat(fd).st_size, sealed=True)), "bad header")
    stage.end()


def test_words(t):
    stage = Stage(t)
    for kind, name in (migd_liar.RAM_TABLE, "RAM_TABLE"), (migd_liar.CONFIG_GET, "CONFIG_GET"), \
            (migd_liar.HANDOVER_BEGIN, "HANDOVER_BEGIN"), (migd_liar.MIG_PAUSE, "MIG_PAUSE"), (migd_liar.STATE_SAVE, "STATE_SAVE"):
        stage.lie(f"garbage in place of {name}", on_reply(kind, lambda m: [(os.urandom(64), [])]))
        stage.lie(f"a body of garbage in {name}", on_reply(kind, lambda m: [(pack(m, b"\xff" * 1000), m.fds)]))
    for kind, name in (migd_liar.HANDOVER_BEGIN, "HANDOVER_BEGIN"), (migd_liar.STATE_LOAD, "STATE_LOAD"), \
            (migd_liar.LOADED, "LOADED"):
        stage.lie(f"garbage from the destination in {name}", on_reply(kind, lambda m: [(os.urandom(64), [])]), at_source=False)
    stage.lie("an answer that nobody waits for", on_reply(migd_liar.CONFIG_GET, lambda m: [(pack(m, reply_to=m.reply_to + 1000), [])]))
    stage.end()


def test_silence(t):
    stage = Stage(t)
    stage.lie("no answer", on_reply(migd_liar.DIRTY_START, lambda m: []), "no reply")
    stage.lie("no answer at the destination", on_reply(migd_liar.HANDOVER_BEGIN, lambda m: []), at_source=False)
    stage.end()


def state(length):
    """STATE_SAVE says so many bytes."""
    return on_reply(migd_liar.STATE_SAVE, lambda m: [(pack(m, struct.pack("<Q", length) + m.body[8:]), m.fds)])


def test_device_state(t):
    stage = Stage(t)
    stage.lie("state of an exabyte", state(1 << 60))
    stage.lie("state behind the end", state(1 << 20))
    stage.lie("state of nothing", state(0))
    stage.end()


def test_memory_shrinks(t):
    """While the worker reads it, or writes it."""
    stage = Stage(t)

    def shrink(liar, src):
        for fd in liar.made:
            with contextlib.suppress(OSError):
                if os.fstat(fd).st_size > 1 << 20:
                    os.truncate(fd, 0)
        t.speed_up(src)

    def full(liar, length):
        fd = liar.memory(length)
        for at in range(0, length, 1 << 20):
            os.pwrite(fd, os.urandom(1 << 20), at)
        return fd

    stage.lie("the source's memory is cut off", memory(full), before=shrink)
    stage.lie("the source's memory is cut off, with parallel channels", memory(full), before=shrink, multifd=True)
    # Whoever lies about its own memory there has the guest of its own word: it may say that it runs.
    stage.lie("the destination's memory is cut off", memory(lambda liar, n: liar.memory(n)), at_source=False, before=shrink,
              ends=migdtest.ENDED)
    stage.end()


def test_slow(t):
    """Each word late, but in time: its own migration takes long, no other does."""
    stage = Stage(t)

    def late(m):
        time.sleep(0.5)
        return None

    liar = migd_liar.Liar(t, stage.a)
    src, dst = liar.vmm(**OPTIONS), t.incoming(stage.b, OPTIONS, name="liar")
    liar.lie = late
    t.start(src, dst)
    stage.migrate_bystander()
    t.check(src.status() not in migdtest.ENDED, "the slow one has not ended before")
    t.cancel(src)
    for vmm in src, dst:
        end(vmm)
    stage.end()


def test_release(t):
    """Who answers RELEASE with nonsense may have released: the guest is nobody's until it is known. The bystander moves."""
    stage = Stage(t)
    liar = migd_liar.Liar(t, stage.a)
    src, dst = liar.vmm(**OPTIONS), t.incoming(stage.b, OPTIONS, name="liar")
    t.assert_runs(src)
    liar.lie = on_reply(migd_liar.RELEASE, lambda m: [(pack(m, b"\xff" * 17), [])])(liar)
    t.start(src, dst)
    stage.migrate_bystander()
    wait_until(lambda: src.status() in migdtest.ENDED or src.migration().get("handover", {}).get("in-doubt"), "it ends, or is in doubt",
               timeout=60)
    print(f"RELEASE: {src.migration()}")
    running = [vmm for vmm in (src, dst) if beats(vmm)]
    t.check(len(running) <= 1, "both sides run")
    for daemon in stage.a, stage.b:
        t.check(daemon.running(), f"{daemon.name} lives")


def beats(vmm):
    first = vmm.mem.heartbeat
    time.sleep(0.3 * SLOW)
    return vmm.mem.heartbeat != first


if __name__ == "__main__":
    migdtest.main()
