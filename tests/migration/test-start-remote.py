#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""A guest is announced to the host that it goes to, which starts a VMM for it; or says why not, and nothing has happened."""

import os

import migdtest
from migd_arrivals import Host
from migd_process import wait_until


def source(t, name="g", **options):
    a = t.daemon("a") if not hasattr(t, "a") else t.a
    t.a = a
    src = t.vmm(a, name=name, **{"working_set": "4M", **options})
    t.assert_runs(src)
    return src


def go(src, host, **arguments):
    src.command("migrate", {"uri": host.uri(), "start-remote": True, **arguments})


def assert_refused(t, src, host, *words):
    text = t.assert_failed(src, "announcing guest", *words)
    t.assert_untouched(src)
    host.wait_quiet(src.name)
    return text


def assert_moved(t, src, host):
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"{info}")
    dst = host.arrived(src.name)
    wait_until(lambda: dst.run_state() == "running", "it runs there")
    t.assert_only_runs(dst, src)
    return dst


def in_group(group):
    """The pids of a process group that run."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                state, _, pgrp = f.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(pid))
    return found


def test_started_by_a_program(t):
    host = Host(t, "b")
    src = source(t)
    src.set_capabilities(postcopy_ram=True, multifd=True)
    src.set(multifd_channels=3)
    go(src, host)
    dst = assert_moved(t, src, host)
    said = host.called_for("g")
    t.check(said["name"] == "g" and said["vcpus"] == 1 and said["memory"] == 64 << 20 and not said["tls"], f"{said}")
    t.check("multifd" in said["capabilities"] and said["multifd-channels"] == 3, f"{said}")
    on = [c["capability"] for c in dst.command("query-migrate-capabilities") if c["state"]]
    t.check(set(on) == {"postcopy-ram", "multifd"}, f"both sides have the same: {on}")
    t.check(not host.heralds(), "a herald is left")


def test_in_the_background(t):
    """A program that ends, and leaves the VMM behind; and one that is in no hurry."""
    host = Host(t, "b")
    with open(host.hook) as f:
        text = f.read().replace("exec ", "sleep 0.5; setsid ").replace("2>&1", "2>&1 < /dev/null &")
    with open(host.hook, "w") as f:
        f.write(text)
    src = source(t)
    go(src, host)
    assert_moved(t, src, host)


def test_waits_already(t):
    """No hook is needed for a guest whose VMM waits: armed by its operator, or not."""
    host = Host(t, "b", command="")
    for name, armed in ("one", False), ("two", True):
        src = source(t, name)
        dst = t.incoming(host.daemon, {"working_set": "4M"}, name=name)
        if armed:
            dst.command("migrate-incoming", {"uri": "shared:"})
        go(src, host)
        t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
        t.assert_only_runs(dst, src)


def test_nothing_is_configured(t):
    host = Host(t, "b", command="")
    src = source(t)
    go(src, host)
    assert_refused(t, src, host, r"\[arrivals\]")


def test_hook_fails(t):
    host = Host(t, "b", before="echo 'there is no disk' >&2; exit 3")
    src = source(t)
    go(src, host)
    assert_refused(t, src, host, "did not start a VMM", "status 3")
    t.check("there is no disk" in host.daemon.log_text(), "what it says is in the log")
    # It is repaired, and the next attempt works.
    host.write_hook()
    go(src, host)
    assert_moved(t, src, host)


def test_hook_hangs(t):
    host = Host(t, "b", before="echo $$ > pid-of-hook; sleep 1000 & sleep 1000".replace("pid-of-hook", t.dir + "/pid"), timeout=2)
    src = source(t)
    go(src, host)
    wait_until(lambda: os.path.exists(t.dir + "/pid") and open(t.dir + "/pid").read(), "the hook runs")
    group = int(open(t.dir + "/pid").read())
    t.check(src.status() == "setup", "it waits")
    assert_refused(t, src, host, "attached within 2 s", "start-timeout")

    wait_until(lambda: not in_group(group), "all that the hook started is gone")


def test_late_vmm_is_ended(t):
    """What attaches after the time is over is told to end."""
    host = Host(t, "b", timeout=1)
    with open(host.hook) as f:
        text = f.read().replace("exec ", "setsid sh -c 'sleep 1.5; exec \"$@\"' x ").replace("2>&1", "2>&1 < /dev/null &")
    with open(host.hook, "w") as f:
        f.write(text)
    src = source(t)
    go(src, host)
    t.assert_failed(src, "attached within 1 s")
    wait_until(lambda: "ending a VMM that was started" in host.daemon.log_text(), "it came late, and is ended")
    host.wait_quiet("g")
    t.assert_untouched(src)


def test_another_shape(t):
    host = Host(t, "b", memory="32M")
    src = source(t)
    go(src, host)
    assert_refused(t, src, host, "33554432 bytes of memory")
    host.write_hook(cpus=2)
    go(src, host)
    assert_refused(t, src, host, "2 vCPUs")


def test_runs_instead_of_waiting(t):
    host = Host(t, "b", extra="")
    src = source(t)
    go(src, host)
    t.assert_failed(src, "does not wait for a migration")
    t.assert_untouched(src)


def test_name_is_taken(t):
    host = Host(t, "b")
    src = source(t)
    other = t.vmm(host.daemon, name="g")
    t.assert_runs(other)
    go(src, host)
    t.assert_failed(src, "on that host already")
    t.assert_untouched(src)
    t.assert_untouched(other)
    t.check(host.called_for("g") is None, "the hook is not asked")


def test_name_for_no_program(t):
    host = Host(t, "b")
    src = source(t, name="-rf $(reboot)")
    go(src, host)
    t.assert_failed(src, "no VMM is started for a guest with this name")
    t.assert_untouched(src)


def test_cancelled_while_it_waits(t):
    host = Host(t, "b", before="sleep 1000")
    src = source(t)
    go(src, host)
    wait_until(lambda: host.called_for("g"), "the hook runs")
    t.cancel(src)
    host.wait_quiet("g")
    host.write_hook()
    go(src, host)
    assert_moved(t, src, host)


def test_destination_ends_while_it_waits(t):
    host = Host(t, "b", before="sleep 1000")
    src = source(t)
    go(src, host)
    wait_until(lambda: host.called_for("g"), "the hook runs")
    host.daemon.kill()
    t.assert_failed(src, "announcing guest")
    t.assert_untouched(src)


def test_waits_for_its_turn_over_a_restart(t):
    host = Host(t, "b")
    first, second = source(t, "one"), source(t, "two")
    t.a.qmp.command("host-set-parameters", {"max-outgoing": 1})
    t.make_slow(first)
    go(first, host)
    t.wait_active(first)
    go(second, host)
    wait_until(lambda: second.migration().get("queue"), "the second waits")
    t.check(host.called_for("two") is None, "it is announced when its turn comes")
    t.a.kill()
    t.a.drop_session()
    t.a = t.daemon("a")
    for src in first, second:
        src.daemon = t.a
        src.wait_attached()
    t.speed_up(first)
    assert_moved(t, first, host)
    assert_moved(t, second, host)


def test_no_such_address(t):
    src = source(t)
    src.command("migrate", {"uri": "tcp:127.0.0.1:1", "start-remote": True})
    t.assert_failed(src, "announcing guest", "refused")
    t.assert_untouched(src)
    t.assert_refused(src, "migrate", {"uri": "file:/tmp/x", "start-remote": True}, "start-remote")


migdtest.main()
