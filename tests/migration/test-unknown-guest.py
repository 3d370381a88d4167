#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest that is not there, or not named although there are two, is an error that names it."""

import migdtest

COMMANDS = (("migrate", {"uri": "tcp:127.0.0.1:1"}), ("migrate-incoming", {"uri": "tcp:127.0.0.1:0"}),
            ("migrate_cancel", {}), ("query-migrate", {}), ("query-status", {}), ("query-name", {}), ("query-uuid", {}),
            ("stop", {}), ("cont", {}), ("query-migrate-parameters", {}), ("migrate-set-parameters", {}),
            ("query-migrate-capabilities", {}), ("guest-detach", {}))


def refused(t, daemon, command, arguments):
    try:
        daemon.qmp.command(command, arguments)
    except migdtest.QmpError as e:
        return e.desc
    raise AssertionError(f"{command} {arguments} was accepted")


def test_unknown_guest(t):
    src, _ = t.pair()
    for command, arguments in COMMANDS:
        text = refused(t, src.daemon, command, {**arguments, "guest": "nobody"})
        t.check("nobody" in text, f"{command}: {text!r} does not name the guest")
    t.assert_untouched(src)


def test_which_guest(t):
    daemon = t.daemon("a")
    one = t.vmm(daemon, name="one")
    t.check(daemon.qmp.command("query-name") == {"name": "one"}, "with one guest no name is needed")
    t.vmm(daemon, name="two")
    for command, arguments in COMMANDS:
        refused(t, daemon, command, arguments)
    t.assert_runs(one)


def test_no_guest(t):
    daemon = t.daemon("a")
    for command, arguments in COMMANDS:
        refused(t, daemon, command, arguments)


migdtest.main()
