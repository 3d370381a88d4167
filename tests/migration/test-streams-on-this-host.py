#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Commands, pipes and files as streams: what arrives is the guest, and what fails leaves it running and nothing behind."""

import glob
import json
import os
import subprocess

import migd_reports
import migdtest
from migd_mount import small_disk


def pair(t, **options):
    """As t.pair(), with daemons that run commands."""
    t.a = t.daemon("a", extra=["--allow-exec"])
    t.b = t.daemon("b", extra=["--allow-exec"])
    t.options = {"working_set": "4M", **options}
    src = t.vmm(t.a, **t.options)
    t.assert_runs(src)
    return src, t.incoming(t.b, t.options)


# A guest that runs needs it, for nobody answers at the other end of a pipe.
WEAK = {"allow-weak-handover": True}


def there(t, src, uri):
    """Out to a stream that somebody keeps; returns query-migrate."""
    src.command("migrate", {"uri": uri, **WEAK})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    t.check(src.wait_exit() == 0, "the source's VMM ends")
    return info


def back(t, dst, uri):
    dst.command("migrate-incoming", {"uri": uri, "exit-on-error": False})
    info = t.wait_end(dst)
    t.check(info["status"] == "completed", f"the destination says {info}")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def files_of(t):
    """What is there of the file `guest` and whatever was made for it."""
    return sorted(n for n in os.listdir(t.dir) if n.startswith("guest"))


def test_commands(t):
    src, dst = pair(t)
    path = os.path.join(t.dir, "guest.gz")
    there(t, src, f"exec:gzip -1 > {path}")
    # The command had ended by then: the file is whole.
    t.check(subprocess.run(["gzip", "-t", path], check=False).returncode == 0, "a whole gzip file")
    back(t, dst, f"exec:gzip -dc {path}")


def test_program_with_arguments(t):
    src, _ = pair(t)
    path = os.path.join(t.dir, "guest")
    src.command("migrate", {"channels": [{"channel-type": "main", "addr": {
        "transport": "exec", "args": ["/usr/bin/tee", path]}}], **WEAK})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    with open(path, "rb") as f:
        t.check(f.read(4) == b"QEVM", "tee wrote the stream")


def test_commands_that_fail(t):
    src, dst = pair(t)
    for command, words in (("exec:cat > /dev/full", ("status 1|pipe",)),
                           ("exec:cat > /dev/null; exit 3", ("status 3",)),
                           ("exec:head -c 100000 > /dev/null", ("pipe|stream",)),
                           ("exec:cat > /dev/null; kill -9 $$", ("signal 9",))):
        src.command("migrate", {"uri": command, **WEAK})
        t.assert_failed(src, *words)
        t.assert_untouched(src)
    missing = {"channels": [{"channel-type": "main", "addr": {"transport": "exec", "args": ["/nonexistent"]}}], **WEAK}
    if migd_reports.VALGRIND:  # makes a fork of a vfork, so that the child's failed exec is not seen
        src.command("migrate", missing)
        t.assert_failed(src, "status 127|pipe")
    else:
        t.assert_refused(src, "migrate", missing, "/nonexistent", "No such file")
    t.check(src.status() == "failed", "the source's migration failed as well")
    dst.command("migrate-incoming", {"uri": "exec:echo no stream", "exit-on-error": False})
    t.assert_failed(dst)
    there(t, src, f"exec:cat > {t.dir}/guest")
    back(t, dst, f"exec:cat {t.dir}/guest")


def test_pipes(t):
    """A pipe from one daemon to the other; live, with the promise of one commit only."""
    src, dst = pair(t)
    out, into = os.pipe()
    src.daemon.qmp.command("getfd", {"fdname": "p"}, fds=[into])
    dst.daemon.qmp.command("getfd", {"fdname": "p"}, fds=[out])
    os.close(out)
    os.close(into)
    dst.command("migrate-incoming", {"uri": "fd:p"})
    there(t, src, "fd:p")
    t.check(t.wait_end(dst)["status"] == "completed", f"the destination says {dst.migration()}")
    t.assert_memory_verified(dst)


def test_wrong_ends(t):
    src, dst = pair(t)
    out, into = os.pipe()
    src.daemon.qmp.command("getfd", {"fdname": "p"}, fds=[out])
    dst.daemon.qmp.command("getfd", {"fdname": "p"}, fds=[into])
    t.assert_refused(src, "migrate", {"uri": "fd:p"}, "for reading alone")
    t.assert_refused(dst, "migrate-incoming", {"uri": "fd:p"}, "for writing alone")
    # Consumed all the same.
    t.assert_refused(src, "migrate", {"uri": "fd:p"}, "'p' not found")


def test_file_replaces_another(t):
    src, dst = pair(t)
    path, link = os.path.join(t.dir, "guest"), os.path.join(t.dir, "link")
    with open(path, "wb") as f:
        f.write(b"old" * (8 << 20))
    os.symlink("guest", link)
    t.make_slow(src)
    src.command("migrate", {"uri": "file:" + link})
    t.wait_active(src)
    with open(path, "rb") as f:
        t.check(f.read(3) == b"old", "until the stream is whole, the old file is there")
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    t.check(os.path.islink(link) and files_of(t) == ["guest"], f"left are {os.listdir(t.dir)}")
    back(t, dst, "file:" + link)


def test_cancelled_file_leaves_nothing(t):
    src, _ = pair(t, working_set="16M")
    t.make_slow(src)
    src.command("migrate", {"uri": f"file:{t.dir}/guest"})
    t.wait_active(src)
    t.check(len(files_of(t)) == 1 and files_of(t) != ["guest"], f"it has another name yet: {files_of(t)}")
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "cancelled")
    t.assert_untouched(src)
    migdtest.wait_until(lambda: not files_of(t), "what was written is removed")


def test_torn_file_in_place(t):
    """With an offset the file is written where it is: without its head it is no stream."""
    src, dst = pair(t, working_set="16M")
    path = os.path.join(t.dir, "guest")
    t.make_slow(src)
    src.command("migrate", {"uri": f"file:{path},offset=16"})
    t.wait_active(src)
    src.command("migrate_cancel")
    t.wait_end(src)
    with open(path, "rb") as f:
        head = f.read(24)
    t.check(head == bytes(24), f"no magic before the end: {head!r}")
    dst.command("migrate-incoming", {"uri": f"file:{path},offset=16", "exit-on-error": False})
    t.assert_failed(dst, "magic")
    t.assert_untouched(src)


def test_daemon_dies_before_the_end(t):
    """The next daemon gives the file its name, or removes what is there of it."""
    for end in "completed", "cancelled":
        src, _ = pair(t, working_set="16M", name=f"g-{end}")
        t.make_slow(src)
        src.command("migrate", {"uri": f"file:{t.dir}/guest"})
        t.wait_active(src)
        src.daemon.kill()
        src.daemon = t.daemon("a")
        src.wait_attached()
        t.wait_active(src)
        if end == "completed":
            t.speed_up(src)
        else:
            src.command("migrate_cancel")
        info = t.wait_end(src)
        t.check(info["status"] == end, f"the source says {info}")
        wanted = ["guest"] if end == "completed" else []
        migdtest.wait_until(lambda: files_of(t) == wanted, f"{end}: the files are {files_of(t)}")
        if wanted:
            os.unlink(os.path.join(t.dir, "guest"))
        for daemon in src.daemon, t.b:
            daemon.kill()


def test_daemon_dies_with_the_file_just_made(t):
    """The next one knows of it, and nothing is left beside the file's name."""
    src, _ = t.pair(working_set="1M", src_env={"MIGD_FAULT": "file.created=stop"})
    src.daemon.qmp.send(json.dumps({"execute": "migrate", "arguments": {"guest": src.name, "uri": f"file:{t.dir}/vm"}}).encode() + b"\n")
    migdtest.wait_until(lambda: glob.glob(f"{t.dir}/vm.*.part"), "the file is made")
    src.daemon.kill()
    src.daemon.drop_session()
    src.daemon = t.daemon(src.daemon.name)
    src.wait_attached()
    migdtest.wait_until(lambda: not glob.glob(f"{t.dir}/vm.*"), "it is removed")
    t.assert_untouched(src)


def test_full_disk(t):
    disk = small_disk(t, "2M")
    src, _ = pair(t, working_set="16M")
    for uri in f"file:{disk}/guest", f"file:{disk}/guest,offset=4096", f"exec:cat > {disk}/guest":
        t.fill(src, length=4 << 20)
        src.command("migrate", {"uri": uri, **WEAK})
        t.assert_failed(src, "No space left|status 1|pipe")
        t.assert_untouched(src)
        if "offset" in uri:
            with open(os.path.join(disk, "guest"), "rb") as f:
                f.seek(4096)
                t.check(f.read(8) == bytes(8), "a torn file is no stream")
        elif uri.startswith("file:"):
            migdtest.wait_until(lambda: not os.listdir(disk), f"no half file is left: {os.listdir(disk)}")
        for name in os.listdir(disk):
            os.unlink(os.path.join(disk, name))


migdtest.main()
