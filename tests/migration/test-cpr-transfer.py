#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""cpr-transfer: a new VMM takes the guest over with its memory, which is not copied; what fails leaves it unharmed."""

import os
import signal

import migdtest
from migd_process import wait_until


def begin(t, one_daemon=False, env=(None, None), **options):
    """A guest, and a VMM that waits for its memory, and what `migrate` needs. `env`: the daemons'."""
    t.options = {"memfd": True, "working_set": "16M", **options}
    t.a = t.daemon("a", env=env[0])
    t.b = t.a if one_daemon else t.daemon("b", env=env[1])
    src = t.vmm(t.a, **t.options)
    t.assert_runs(src)
    return src, successor(t, src)


def successor(t, src, **changes):
    name = src.name if src.daemon is not t.b else src.name + "-new"
    path = os.path.join(t.dir, f"cpr-{t.count('cpr')}")
    dst = t.incoming(t.b, t.options, name=name, cpr=path, memfd=False, attached=False, **changes)
    wait_until(lambda: os.path.exists(path), f"{dst.label} listens", alive=[dst])
    return dst


def channels(t, dst):
    def unix(path):
        return {"transport": "socket", "type": "unix", "path": path}
    return [{"channel-type": "main", "addr": unix(os.path.join(t.dir, f"main-{t.count('main')}"))},
            {"channel-type": "cpr", "addr": unix(dst.cpr_path)}]


def hand_over(t, src, dst):
    """migrate; then migrate-incoming, once the new VMM is attached. Returns the main address."""
    src.set(mode="cpr-transfer")
    both = channels(t, dst)
    src.command("migrate", {"channels": both})
    dst.wait_attached()
    return both[:1]


def transfer(t, src, dst):
    dst.command("migrate-incoming", {"channels": hand_over(t, src, dst), "exit-on-error": False})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    t.check(t.wait_end(dst)["status"] == "completed", "the destination completed")
    return info


def inode(vmm):
    found = set()
    for fd in os.listdir(f"/proc/{vmm.pid}/fd"):
        path = f"/proc/{vmm.pid}/fd/{fd}"
        if os.readlink(path).startswith("/memfd:ram"):
            found.add(os.stat(path).st_ino)
    return found


def test_guest_moves_with_its_memory(t):
    src, dst = begin(t)
    t.assert_memory_verified(src)
    memory = inode(src)
    info = transfer(t, src, dst)
    t.check(src.wait_exit() == 0, "the old VMM ends well")
    t.check(len(memory) == 1 and inode(dst) == memory, "the new VMM has the same memory")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(dst.run_state() == "running", f"the new VMM is {dst.run_state()}")
    ram = info["ram"]
    t.check(ram["normal"] == 0 and ram["duplicate"] == 0, f"no page was sent: {ram}")
    t.check(ram["total"] == 0 and ram["remaining"] == 0, f"no memory takes part: {ram}")
    t.check(ram["transferred"] < 1 << 20, f"but device state: {ram}")
    print(f"blackout: {info['downtime']} ms {info['blackout']}")


def test_with_one_daemon_and_on_and_on(t):
    src, dst = begin(t, one_daemon=True, cpus=2, payload="smp", working_set=None)
    for _ in range(3):
        transfer(t, src, dst)
        t.assert_runs(dst)
        src.wait_exit()
        src, dst = dst, successor(t, dst)


def test_memory_file_and_disk_go_along(t):
    disk = os.path.join(t.dir, "disk")
    with open(disk, "wb") as f:
        f.truncate(4 << 20)
    src, dst = begin(t, payload="disk", memfd=False, working_set=None, extra=("--disk", disk))
    t.assert_memory_verified(src, rounds=20)
    dst._mem = src.mem  # the same file
    transfer(t, src, dst)
    t.assert_memory_verified(dst, rounds=20)
    src.wait_exit()
    t.check(dst.run_state() == "running", "it runs in the new VMM")


def test_paused_guest_stays_paused(t):
    src, dst = begin(t)
    src.command("stop")
    transfer(t, src, dst)
    t.assert_stopped(dst)
    dst.command("cont")
    t.assert_memory_verified(dst)


def assert_unharmed(t, src):
    t.assert_untouched(src)
    t.assert_memory_verified(src, rounds=2 * src.mem.detail(1))
    # And it works when tried again.
    again = successor(t, src)
    transfer(t, src, again)
    t.assert_memory_verified(again, rounds=2 * again.mem.detail(1))


def test_nobody_at_the_channel(t):
    src, dst = begin(t)
    dst.kill()
    src.set(mode="cpr-transfer")
    src.command("migrate", {"channels": channels(t, dst)})
    t.assert_failed(src, "cpr channel", "refused")
    assert_unharmed(t, src)


def test_new_vmm_killed_before_it_listens(t):
    src, dst = begin(t)
    hand_over(t, src, dst)
    t.check(src.status() == "setup", f"it waits for the new VMM, and is {src.status()}")
    dst.kill()
    t.assert_failed(src, "ended before it could take the guest")
    assert_unharmed(t, src)


def test_new_vmm_killed_before_commit(t):
    src, dst = begin(t)
    src.command("migrate-set-capabilities",
                {"capabilities": [{"capability": "pause-before-switchover", "state": True}]})
    dst.command("migrate-incoming", {"channels": hand_over(t, src, dst)})
    wait_until(lambda: src.status() == "pre-switchover", "the guest is stopped")
    dst.kill()
    t.assert_failed(src)
    src.command("migrate-set-capabilities",
                {"capabilities": [{"capability": "pause-before-switchover", "state": False}]})
    assert_unharmed(t, src)


def test_workers_killed(t):
    for side in "source", "destination":
        src, dst = begin(t)
        src.command("migrate-set-capabilities",
                    {"capabilities": [{"capability": "pause-before-switchover", "state": True}]})
        dst.command("migrate-incoming", {"channels": hand_over(t, src, dst), "exit-on-error": False})
        wait_until(lambda: src.status() == "pre-switchover", "the guest is stopped")
        worker, = (src if side == "source" else dst).daemon.workers()
        os.kill(worker, signal.SIGKILL)
        t.assert_failed(src)
        t.assert_failed(dst)
        t.assert_untouched(src)
        t.check(dst.wait_exit() == 1, "the new VMM gives up")
        t.assert_memory_verified(src, rounds=2 * src.mem.detail(1))
        src.kill()
        t.a.kill()
        t.b.kill()


def test_workers_killed_between_steps(t):
    """The memory was described, and is not yet taken; or it is taken, and the guest is not."""
    for n, point in enumerate(("cpr.memory-described", "cpr.memory-taken")):
        env = {"MIGD_FAULT": f"{point}=kill"}
        src, dst = begin(t, env=(env, None) if n == 0 else (None, env))
        dst.command("migrate-incoming", {"channels": hand_over(t, src, dst), "exit-on-error": False})
        t.assert_failed(src)
        t.check(dst.wait_exit() == 1, "the new VMM gives up")
        t.assert_untouched(src)
        t.assert_memory_verified(src, rounds=2 * src.mem.detail(1))
        src.kill()
        t.a.kill()
        t.b.kill()


def test_cancelled_while_it_waits(t):
    src, dst = begin(t)
    hand_over(t, src, dst)
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "it is cancelled")
    t.check(dst.wait_exit() == 1, "the new VMM gives up")
    assert_unharmed(t, src)


def test_cancelled_while_stopped(t):
    src, dst = begin(t)
    src.command("migrate-set-capabilities",
                {"capabilities": [{"capability": "pause-before-switchover", "state": True}]})
    dst.command("migrate-incoming", {"channels": hand_over(t, src, dst), "exit-on-error": False})
    wait_until(lambda: src.status() == "pre-switchover", "the guest is stopped")
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "it is cancelled")
    src.command("migrate-set-capabilities",
                {"capabilities": [{"capability": "pause-before-switchover", "state": False}]})
    assert_unharmed(t, src)


def test_daemon_killed_while_it_waits(t):
    src, dst = begin(t)
    hand_over(t, src, dst)
    t.a.kill()
    t.check(dst.wait_exit() == 1, "the new VMM gives up")
    t.assert_runs(src)
    t.a = src.daemon = t.daemon("a")
    src.wait_attached()
    assert_unharmed(t, src)


def test_other_geometry_is_refused(t):
    src, dst = begin(t)
    dst.kill()
    small = successor(t, src, memory="32M")
    src.set(mode="cpr-transfer")
    src.command("migrate", {"channels": channels(t, small)})
    t.assert_failed(src, "gave up")
    t.check("64 MiB" in small.log_text(), f"it says what it needs: {small.log_text()}")
    more = successor(t, src, cpus=2)
    more.command("migrate-incoming", {"channels": hand_over(t, src, more), "exit-on-error": False})
    t.assert_failed(src, "vCPU")
    more.kill()
    assert_unharmed(t, src)


def test_memory_that_is_shared_is_never_received_into(t):
    """The new VMM shares the memory of a running guest: no other migration may write there."""
    src, dst = begin(t)
    other = t.vmm(t.a, name="other", working_set="4M")
    t.assert_runs(other)
    main = hand_over(t, src, dst)
    dst.command("migrate-incoming", {"uri": "tcp:127.0.0.1:0", "exit-on-error": False})
    address = wait_until(lambda: dst.migration().get("socket-address"), "its address")[0]
    other.command("migrate", {"uri": f"tcp:127.0.0.1:{address['port']}"})
    t.assert_failed(other, "shares its memory")
    t.assert_untouched(other)
    t.check(main, "the main channel is not used")
    t.assert_failed(src)
    t.assert_memory_verified(src, rounds=2 * src.mem.detail(1))


def test_memory_of_its_own_is_no_cpr_target(t):
    """A VMM that did not wait at the channel itself cannot stand in for the one that did."""
    src, dst = begin(t)
    plain = t.incoming(t.b, t.options, name="plain")
    both = channels(t, dst)
    plain.command("migrate-incoming", {"channels": both[:1], "exit-on-error": False})
    src.set(mode="cpr-transfer")
    src.command("migrate", {"channels": both})
    dst.wait_attached()
    dst.command("migrate-incoming", {"uri": "tcp:127.0.0.1:0", "exit-on-error": False})
    t.assert_failed(src, "memory of its own", "--cpr-listen")
    t.assert_untouched(src)


def test_channels_and_mode_are_checked(t):
    src, dst = begin(t)
    main, cpr = channels(t, dst)
    tcp = {"channel-type": "main", "addr": {"transport": "socket", "type": "inet", "host": "::1", "port": "0"}}
    wrong = {**cpr, "addr": {"transport": "socket", "type": "inet", "host": "::1", "port": "1"}}
    t.assert_refused(src, "migrate", {"channels": [main, cpr]}, "mode cpr-transfer", "normal")
    src.set(mode="cpr-transfer")
    t.assert_refused(src, "migrate", {"channels": [main]}, "missing 'cpr'")
    t.assert_refused(src, "migrate", {"uri": "tcp:127.0.0.1:1"}, "missing 'cpr'")
    t.assert_refused(src, "migrate", {"channels": [cpr]}, "no main entry")
    t.assert_refused(src, "migrate", {"channels": [main, cpr, cpr]}, "more than one cpr entry")
    t.assert_refused(src, "migrate", {"channels": [main, wrong]}, "must be a Unix socket")
    t.assert_refused(src, "migrate", {"channels": [tcp, cpr]}, "port 0")
    file = {"channel-type": "main", "addr": {"transport": "file", "filename": os.path.join(t.dir, "f"), "offset": 0}}
    t.assert_refused(src, "migrate", {"channels": [file, cpr]}, "streamable")
    idle = t.incoming(t.b, t.options, name="idle")
    t.assert_refused(idle, "migrate-incoming", {"channels": [main, cpr]}, "only one entry")
    t.check(src.status() == "none", "nothing was started")


migdtest.main()
