#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A VMM may listen itself and be attached, let go and attached again."""

import os

import migdtest
from migd_process import wait_until


def attached(daemon, name):
    entry = daemon.guest(name)
    return entry and entry["attached"]


def test_attach_detach_attach(t):
    daemon = t.daemon("a")
    vmm = t.vmm(daemon, name="g", listen=True)
    wait_until(lambda: os.path.exists(vmm.listen_path), "the VMM listens", alive=[vmm])
    for _ in range(2):
        daemon.qmp.command("guest-attach", {"id": "g", "path": vmm.listen_path})
        wait_until(lambda: attached(daemon, "g"), "the guest is attached")
        t.assert_untouched(vmm)
        daemon.qmp.command("guest-detach", {"guest": "g"})
        wait_until(lambda: not attached(daemon, "g"), "the guest is detached")
        t.assert_runs(vmm)


def test_the_next_daemon_attaches_it_again(t):
    """As a VMM that connects itself comes back, with its name and its settings."""
    daemon = t.daemon("a")
    vmm = t.vmm(daemon, name="g", listen=True)
    wait_until(lambda: os.path.exists(vmm.listen_path), "the VMM listens", alive=[vmm])
    daemon.qmp.command("guest-attach", {"id": "mine", "path": vmm.listen_path})
    daemon.qmp.command("migrate-set-parameters", {"guest": "mine", "downtime-limit": 123})
    daemon.kill()
    daemon.drop_session()
    daemon = t.daemon("a")
    wait_until(lambda: attached(daemon, "mine"), "the next daemon attaches the guest")
    found = daemon.qmp.command("query-migrate-parameters", {"guest": "mine"})
    t.check(found["downtime-limit"] == 123, f"with its settings: {found}")
    t.assert_runs(vmm)
    daemon.qmp.command("guest-detach", {"guest": "mine"})
    daemon.kill()
    daemon.drop_session()
    daemon = t.daemon("a")
    t.check(not daemon.qmp.command("query-guests"), "what was detached stays so")
    t.assert_runs(vmm)


def test_migrates(t):
    a, b = t.daemon("a"), t.daemon("b")
    src = t.vmm(a, listen=True, working_set="4M")
    wait_until(lambda: os.path.exists(src.listen_path), "the VMM listens", alive=[src])
    a.qmp.command("guest-attach", {"id": "g", "path": src.listen_path})
    dst = t.incoming(b, {"working_set": "4M"})
    t.assert_runs(src)
    t.migrate(src, dst)
    t.assert_memory_verified(dst)


def test_attach_errors(t):
    daemon = t.daemon("a")
    t.vmm(daemon, name="g")
    for path, word in (os.path.join(t.dir, "nobody"), "nobody"), (os.path.join(t.dir, "x" * 150), "path"):
        try:
            daemon.qmp.command("guest-attach", {"id": "h", "path": path})
        except migdtest.QmpError as e:
            t.check(word in e.desc, f"{e.desc!r} does not mention {word}")
        else:
            raise AssertionError(f"attached to {path}")
    other = t.vmm(daemon, name="other", listen=True)
    wait_until(lambda: os.path.exists(other.listen_path), "the VMM listens", alive=[other])
    try:
        daemon.qmp.command("guest-attach", {"id": "g", "path": other.listen_path})
    except migdtest.QmpError as e:
        t.check("g" in e.desc, f"{e.desc!r} does not name the guest")
    else:
        raise AssertionError("two guests of one name")


migdtest.main()
