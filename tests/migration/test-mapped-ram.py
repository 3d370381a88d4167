#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""Files in which each page has its place: what comes back, what they cost, and what happens when something fails."""

import os
import re
import signal
import time

import migdtest
from migd_mapped import Mapped, need_direct_io
from migd_mount import small_disk

PAGE = 4096


def mapped(*sides):
    for side in sides:
        side.command("migrate-set-capabilities", {"capabilities": [{"capability": "mapped-ram", "state": True}]})


def pair(t, **options):
    src, dst = t.pair(**options)
    mapped(src, dst)
    return src, dst


def save(t, src, uri):
    src.command("migrate", {"uri": uri})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    return info


def load(t, dst, uri):
    dst.command("migrate-incoming", {"uri": uri, "exit-on-error": False})
    info = t.wait_end(dst)
    t.check(info["status"] == "completed", f"the destination says {info}")


def files_of(directory):
    return sorted(n for n in os.listdir(directory) if n.startswith("guest"))


def test_running_guest(t):
    """Saved while it writes: several passes, one place a page; figures that add up."""
    src, dst = pair(t, memory="128M", working_set="16M")
    # All of its working set is there, and is written again and again.
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    t.make_slow(src, 24 << 20)
    src.command("migrate", {"uri": f"file:{t.dir}/guest"})
    migdtest.wait_until(lambda: src.migration().get("ram", {}).get("normal", 0) > 6000, "pages are sent again", 60)
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    ram, st = info["ram"], os.stat(f"{t.dir}/guest")
    t.check(ram["normal"] * PAGE <= ram["transferred"] < ram["normal"] * PAGE + (1 << 20), f"bytes are pages: {ram}")
    t.check(st.st_blocks * 512 < ram["normal"] * PAGE, f"pages written twice have one place: {st.st_blocks * 512}, {ram}")
    t.check(st.st_size < (128 << 20) + (4 << 20), f"the file has {st.st_size} bytes")
    t.check(ram["remaining"] == 0 and info["downtime"] > 0, f"{info}")
    load(t, dst, f"file:{t.dir}/guest")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_sparse_guest(t):
    """8 GiB of which 64 MiB are used: a small file, quickly, and a restored guest that is as sparse."""
    src, dst = pair(t, memory="8G", payload="idle")
    t.fill(src, start=3 << 30, length=64 << 20)
    started = time.monotonic()
    info = save(t, src, f"file:{t.dir}/guest")
    load(t, dst, f"file:{t.dir}/guest")
    took, room = time.monotonic() - started, os.stat(f"{t.dir}/guest").st_blocks * 512
    t.check(room < 72 << 20, f"the file takes {room} bytes")
    t.check(info["ram"]["hole"] > 7 << 30 >> 12, f"holes are skipped: {info['ram']}")
    t.check(took < 10 * migdtest.SLOW, f"it took {took:.1f} s")
    t.check(dst.mem.map[3 << 30:(3 << 30) + (64 << 20)] == b"x" * (64 << 20), "what was written is there")
    t.check(dst.allocated() < 80 << 20, f"{dst.allocated()} bytes are there of the restored guest's memory")


def test_cancelled(t):
    src, _ = pair(t, working_set="16M")
    for uri in f"file:{t.dir}/guest", f"file:{t.dir}/guest,offset=8192":
        t.make_slow(src)
        t.fill(src)
        src.command("migrate", {"uri": uri})
        t.wait_active(src)
        started = time.monotonic()
        src.command("migrate_cancel")
        t.check(t.wait_end(src)["status"] == "cancelled", "cancelled")
        t.check(time.monotonic() - started < 1 * migdtest.SLOW, "soon")
        t.assert_untouched(src)
        if "offset" not in uri:
            migdtest.wait_until(lambda: not files_of(t.dir), "what was written is removed")
    with open(f"{t.dir}/guest", "rb") as f:
        f.seek(8192)
        t.check(f.read(8) == bytes(8), "a torn file is no stream")


def test_killed_worker(t):
    src, dst = pair(t, working_set="16M")
    t.make_slow(src)
    t.fill(src)
    src.command("migrate", {"uri": f"file:{t.dir}/guest"})
    t.wait_active(src)
    worker, = src.daemon.workers()
    os.kill(worker, signal.SIGKILL)
    t.assert_failed(src, "worker")
    t.assert_untouched(src)
    migdtest.wait_until(lambda: not files_of(t.dir), "no half file is left")
    t.speed_up(src)
    save(t, src, f"file:{t.dir}/guest")
    load(t, dst, f"file:{t.dir}/guest")
    t.assert_memory_verified(dst)


def test_daemon_dies_before_the_end(t):
    """The next daemon gives the file its name."""
    src, dst = pair(t, working_set="16M")
    t.make_slow(src)
    t.fill(src)
    src.command("migrate", {"uri": f"file:{t.dir}/guest"})
    t.wait_active(src)
    src.daemon.kill()
    src.daemon = t.daemon("a")
    src.wait_attached()
    t.wait_active(src)
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"the source says {src.migration()}")
    migdtest.wait_until(lambda: files_of(t.dir) == ["guest"], "the file has its name")
    load(t, dst, f"file:{t.dir}/guest")
    t.assert_memory_verified(dst)


def test_full_disk(t):
    disk = small_disk(t, "2M")
    src, _ = pair(t, working_set="16M")
    for uri in f"file:{disk}/guest", f"file:{disk}/guest,offset=4096":
        t.fill(src, length=4 << 20)
        src.command("migrate", {"uri": uri})
        t.assert_failed(src, "No space left", "at offset")
        t.assert_untouched(src)
        if "offset" in uri:
            with open(os.path.join(disk, "guest"), "rb") as f:
                f.seek(4096)
                t.check(f.read(8) == bytes(8), "a torn file is no stream")
            os.unlink(os.path.join(disk, "guest"))
        else:
            migdtest.wait_until(lambda: not os.listdir(disk), f"no half file is left: {os.listdir(disk)}")


def test_where_it_cannot_go(t):
    src, _ = pair(t, memory="64M", payload="idle")
    fifo = os.path.join(t.dir, "fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    t.assert_refused(src, "migrate", {"uri": f"unix:{t.dir}/s"}, "mapped-ram", "seekable transport")
    t.assert_refused(src, "migrate", {"uri": f"file:{fifo}"}, "mapped-ram", "regular file")
    os.close(reader)
    t.assert_untouched(src)


def one_side_only(t, side, *words):
    src, dst = t.pair(memory="64M", payload="idle")
    mapped(src if side == "source" else dst)
    save(t, src, f"file:{t.dir}/guest")
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", "exit-on-error": False})
    t.assert_failed(dst, "mapped-ram", *words)


def test_capability_at_the_source_only(t):
    one_side_only(t, "source", "on at the source and off here")


def test_capability_at_the_destination_only(t):
    one_side_only(t, "destination", "off at the source and on here")


def begin_shared(t, src_shared, dst_shared):
    shared = os.path.join(t.shm, "shared.ram")
    src, dst = t.pair(memory="64M", payload="idle", shared_memory=shared if src_shared else None,
                      dst_changes={"shared_memory": shared if dst_shared else None})
    for vmm in src, dst:
        vmm.command("migrate-set-capabilities", {"capabilities": [
            {"capability": c, "state": True} for c in ("mapped-ram", "x-ignore-shared")]})
    src.command("stop")
    save(t, src, f"file:{t.dir}/guest")
    return src, dst


def test_shared_memory_stays_where_it_is(t):
    _src, dst = begin_shared(t, True, True)
    t.check(Mapped(f"{t.dir}/guest").bitmap() == 0, "no page of it is in the file")
    load(t, dst, f"file:{t.dir}/guest")
    dst.command("cont")
    t.assert_runs(dst)


def test_shared_on_one_side_only(t):
    for sides, words in (((True, False), "nothing of block"), ((False, True), "shared memory here")):
        _src, dst = begin_shared(t, *sides)
        dst.command("migrate-incoming", {"uri": f"file:{t.dir}/guest", "exit-on-error": False})
        t.assert_failed(dst, words)
        for daemon in t.a, t.b:
            daemon.kill()


def test_direct_io_needs_its_descriptor(t):
    need_direct_io(t)
    src, _ = pair(t, memory="64M", payload="idle")
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
    src.set(direct_io=True)
    fds = [os.open(f"{t.dir}/{name}", os.O_WRONLY | os.O_CREAT | more, 0o600)
           for name, more in (("one", 0), ("two", os.O_DIRECT), ("one", os.O_DIRECT))]
    t.a.qmp.command("add-fd", {"fdset-id": 1}, fds=[fds[0]])
    t.assert_refused(src, "migrate", {"uri": "file:/dev/fdset/1"}, "set 1", "O_WRONLY", "with O_DIRECT")
    second = t.a.qmp.command("add-fd", {"fdset-id": 1}, fds=[fds[1]])["fd"]
    t.assert_refused(src, "migrate", {"uri": "file:/dev/fdset/1"}, "not of the same file")
    t.a.qmp.command("remove-fd", {"fdset-id": 1, "fd": second})
    t.a.qmp.command("add-fd", {"fdset-id": 1}, fds=[fds[2]])
    for fd in fds:
        os.close(fd)
    t.make_slow(src)
    t.fill(src)
    src.command("migrate", {"uri": "file:/dev/fdset/1"})
    t.wait_active(src)
    # Pages of the kernel's cache are those of the stream alone.
    worker, = src.daemon.workers()
    flags = [int(re.search(r"^flags:\s*(\d+)", open(f"/proc/{worker}/fdinfo/{n}").read(), re.M)[1], 8)
             for n in os.listdir(f"/proc/{worker}/fd") if os.readlink(f"/proc/{worker}/fd/{n}") == f"{t.dir}/one"]
    t.check(sorted(bool(f & os.O_DIRECT) for f in flags) == [False, True], f"the worker has one of each: {flags}")
    # Each that has written something; they have their names.
    threads = [i for i in src.command("query-migrationthreads") if i["name"].startswith("mig/src/send_")]
    t.check(threads, "threads are shown")
    for i in threads:
        with open(f"/proc/{worker}/task/{i['thread-id']}/comm") as f:
            t.check(f.read().strip() == i["name"], f"{i} has its name")
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    t.check(0 < info["ram"]["multifd-bytes"] < info["ram"]["transferred"], f"bytes of the threads: {info['ram']}")


# What is damaged, and what the error says of it.
DAMAGES = (
    (lambda m: m.put_header(version=2), "field 'mapped-ram version' is 2"),
    (lambda m: m.put_header(page_size=0), "field 'mapped-ram page_size' is 0, not 4096"),
    (lambda m: m.put_header(page_size=8192), "field 'mapped-ram page_size' is 8192"),
    (lambda m: m.put_header(bitmap_offset=m.header), "field 'mapped-ram bitmap_offset' is .*, before the end of its header"),
    (lambda m: m.put_header(bitmap_offset=2**64 - 8), "field 'mapped-ram bitmap_offset' is 0xfffffffffffffff8.* cut off"),
    (lambda m: m.put_header(bitmap_offset=m.end), "field 'mapped-ram pages_offset' is .*, before the end of the bitmap"),
    (lambda m: m.put_header(pages_offset=m.pages_offset + 512), "field 'mapped-ram pages_offset' is .*, no multiple"),
    (lambda m: m.put_header(pages_offset=0), "field 'mapped-ram pages_offset' is 0x0, before the end"),
    (lambda m: m.put_header(pages_offset=2**63 - PAGE), "field 'mapped-ram pages_offset' is .* cut off"),
    (lambda m: m.put_header(pages_offset=m.pages_offset + m.length), "field 'mapped-ram pages_offset' is .* cut off"),
    (lambda m: m.write(m.bitmap_offset + m.length // PAGE // 8, b"\x80"), "field 'mapped-ram bitmap' has page \\d+ of"),
    (lambda m: m.write(m.entry + 1 + len(m.name), (m.length + PAGE).to_bytes(8, "big")), "bytes at the source and"),
    (lambda m: m.write(m.end, b"\0" * 7 + b"\x08"), "is a record, and with mapped-ram there are none"),
    (lambda m: os.truncate(m.path, m.end - PAGE), "cut off"),
    (lambda m: os.truncate(m.path, m.pages_offset), "cut off"),
    (lambda m: os.truncate(m.path, m.header + 10), "the file ends before the stream does"),
    (lambda m: m.write(0, bytes(8)), "magic"),
)


def test_damaged_files(t):
    """Each is refused with an error that names the field, before anything of it is believed; the next VMM can load the whole one."""
    # Pages that are no multiple of 64: there are bits beyond the last one.
    options = {"memory": "33572K", "payload": "idle"}
    src, dst = pair(t, **options)
    save(t, src, f"file:{t.dir}/guest")
    for i, (damage, words) in enumerate(DAMAGES):
        path = f"{t.dir}/damaged"
        t.check(os.system(f"cp --sparse=always {t.dir}/guest {path}") == 0, "copied")
        damage(Mapped(path))
        dst.command("migrate-incoming", {"uri": f"file:{path}", "exit-on-error": False})
        text = t.assert_failed(dst, words)
        print(f"{i}: {text}")
        dst.kill()
        dst = t.incoming(t.b, options)
        mapped(dst)
    load(t, dst, f"file:{t.dir}/guest")
    t.assert_runs(dst)


migdtest.main()
