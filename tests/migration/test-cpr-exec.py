#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""cpr-exec: a VMM becomes another program, with the same pid, and goes on with its guest in the memory that it left."""

import os

import migdtest
from migd_process import wait_until


def begin(t, allow=True, **options):
    t.options = {"memfd": True, "working_set": "16M", **options}
    t.a = t.daemon("a", extra=["--allow-exec"] if allow else [])
    src = t.vmm(t.a, **t.options)
    t.assert_memory_verified(src)
    tell(src)
    return src


def tell(src):
    """A new program begins with the defaults."""
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})


def command(src):
    """What the VMM is to become: the same, waiting for the guest."""
    with open(f"/proc/{src.pid}/cmdline", "rb") as f:
        return [word.decode() for word in f.read().split(b"\0")[:-1]] + ["--incoming"]


def save(t, src, argv=None, name="state"):
    path = os.path.join(t.dir, name)
    src.set(mode="cpr-exec", cpr_exec_command=argv or command(src))
    src.command("migrate", {"uri": "file:" + path})
    return path


def role(src):
    return (src.daemon.guest(src.name) or {}).get("role")


def restart(t, src):
    """Become the new program, and take the guest back from the file."""
    pid, started = src.pid, os.stat(f"/proc/{src.pid}").st_ctime
    src.daemon.qmp.skip_events()
    path = save(t, src)
    src.daemon.qmp.wait_event("MIGRATION", status="completed")
    wait_until(lambda: role(src) == "incoming" and src.status() != "completed", "the new program is attached",
               alive=[src])
    tell(src)
    t.check(src.pid == pid and os.stat(f"/proc/{pid}").st_ctime == started, "it is the same process")
    t.check(src.daemon.guest(src.name)["pid"] == pid, "with the same pid")
    src.command("migrate-incoming", {"channels": [
        {"channel-type": "main", "addr": {"transport": "file", "filename": path, "offset": 0}}]})
    t.check(t.wait_end(src)["status"] == "completed", "the guest is back")
    return path


def test_guest_goes_on_in_the_new_program(t):
    src = begin(t)
    mem = src.mem
    path = restart(t, src)
    t.check(os.stat(path).st_size < 1 << 20, f"no memory is in the file: {os.stat(path).st_size} bytes")
    t.check("going on with the memory that was left here" in src.log_text(), "it says so")
    t.check(not [e for e in t.a.qmp.events if e.name == "MIGRATION" and e.data["status"] == "failed"], "nothing failed")
    src._mem = mem  # another program, the same memory
    t.assert_memory_verified(src, rounds=2 * mem.detail(1))
    t.check(src.run_state() == "running", f"it is {src.run_state()}")


def test_again_and_with_two_vcpus_and_a_memory_file(t):
    src = begin(t, memfd=False, cpus=2)
    for _ in range(3):
        restart(t, src)
        t.assert_memory_verified(src, rounds=src.mem.detail(1))


def test_disk_and_descriptors(t):
    disk = os.path.join(t.dir, "disk")
    with open(disk, "wb") as f:
        f.truncate(4 << 20)
    src = begin(t, payload="disk", working_set=None, extra=("--disk", disk))
    before = src.fds()
    restart(t, src)
    t.assert_memory_verified(src, rounds=20)
    wait_until(lambda: src.fds() == before, f"no descriptor is left over: {before}, then {src.fds()}")


def test_paused_guest_stays_paused(t):
    src = begin(t)
    src.command("stop")
    restart(t, src)
    t.assert_stopped(src)
    src.command("cont")
    t.assert_memory_verified(src)


def test_program_that_is_not_there(t):
    src = begin(t)
    save(t, src, ["/nonexistent/vmm", "--incoming"])
    src.daemon.qmp.wait_event("MIGRATION", status="failed")
    told = [e.data["status"] for e in t.a.qmp.events if e.name == "MIGRATION"]
    t.check(told[-2:] == ["completed", "failed"], f"completed, then failed: {told}")
    t.assert_failed(src, "/nonexistent/vmm", "No such file")
    t.assert_untouched(src)
    t.assert_memory_verified(src, rounds=2 * src.mem.detail(1))
    restart(t, src)
    t.assert_memory_verified(src)


def test_file_that_cannot_be_made(t):
    src = begin(t)
    src.set(mode="cpr-exec", cpr_exec_command=command(src))
    t.assert_refused(src, "migrate", {"uri": "file:/nonexistent/state"}, "No such file")
    t.assert_untouched(src)


def test_state_of_another_guest_is_refused(t):
    """The file names the memory: it fits no VMM but the one that has it."""
    src = begin(t)
    path = save(t, src)
    wait_until(lambda: role(src) == "incoming", "the new program is attached", alive=[src])
    other = t.incoming(t.a, t.options, name="other")
    other.command("migrate-incoming", {"uri": "file:" + path, "exit-on-error": False})
    t.assert_failed(other, "memory of its own")
    src.command("migrate-incoming", {"uri": "file:" + path})
    t.check(t.wait_end(src)["status"] == "completed", "where the memory is, it fits")
    t.assert_memory_verified(src)


def test_what_is_refused(t):
    src = begin(t)
    uri = {"uri": "file:" + os.path.join(t.dir, "state")}
    src.set(mode="cpr-exec")
    t.assert_refused(src, "migrate", uri, "cpr-exec-command")
    src.set(cpr_exec_command=command(src))
    t.assert_refused(src, "migrate", {"uri": "tcp:127.0.0.1:1"}, "file:")
    t.check(src.status() == "none", "nothing was started")
    src.kill()
    t.a.kill()
    src = begin(t, allow=False)
    src.set(mode="cpr-exec", cpr_exec_command=command(src))
    t.assert_refused(src, "migrate", uri, "--allow-exec")


migdtest.main()
