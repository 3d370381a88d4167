#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The host's parameters: defaults, all or nothing, and they outlive the daemon."""

import json
import os
import signal

import migdtest

DEFAULTS = {"max-bandwidth": 0, "max-outgoing": 0, "max-incoming": 0, "source-address": "", "source-interface": "",
            "tls-creds": "", "tls-creds-incoming": "", "tls-authz-incoming": "", "tls-required": False}


def parameters(daemon):
    return daemon.qmp.command("query-host-parameters")


def restart(t, daemon):
    t.check(daemon.kill(signal.SIGTERM) == 0, "the exit status")
    return t.daemon(daemon.name)


def stored(daemon):
    return os.path.join(daemon.state_dir, "settings", "host")


def test_set(t):
    daemon = t.daemon("a")
    t.check(parameters(daemon) == DEFAULTS, f"the defaults are {parameters(daemon)}")
    daemon.qmp.command("host-set-parameters", {"max-bandwidth": 1 << 30, "max-outgoing": 3})
    daemon.qmp.command("host-set-parameters", {"max-incoming": 2})
    changed = {**DEFAULTS, "max-bandwidth": 1 << 30, "max-outgoing": 3, "max-incoming": 2}
    t.check(parameters(daemon) == changed, f"{parameters(daemon)}")
    for wrong in {"max-outgoing": -1}, {"max-outgoing": 1 << 32}, {"max-incoming": "2"}, {"max-bandwidth": "1G"}, \
            {"nonsense": 1}:
        try:
            daemon.qmp.command("host-set-parameters", {"max-bandwidth": 1, **wrong})
        except migdtest.QmpError as e:
            t.check(list(wrong)[0] in e.desc, f"{e.desc!r} does not name {wrong}")
        else:
            raise AssertionError(f"{wrong} was accepted")
        t.check(parameters(daemon) == changed, f"{wrong} changed something: {parameters(daemon)}")


def test_restart(t):
    daemon = t.daemon("a")
    daemon.qmp.command("host-set-parameters", {"max-bandwidth": 123456, "max-incoming": 7})
    daemon = restart(t, daemon)
    t.check(parameters(daemon) == {**DEFAULTS, "max-bandwidth": 123456, "max-incoming": 7}, f"{parameters(daemon)}")
    daemon.kill(signal.SIGKILL)
    daemon = t.daemon(daemon.name)
    t.check(parameters(daemon)["max-bandwidth"] == 123456, f"{parameters(daemon)}")
    # A member that this migd has, and the one that wrote the file did not.
    with open(stored(daemon), "w") as f:
        json.dump({"version": 1, "parameters": {"max-outgoing": 9}}, f)
    daemon = restart(t, daemon)
    t.check(parameters(daemon) == {**DEFAULTS, "max-outgoing": 9}, f"{parameters(daemon)}")


def test_broken_file(t):
    daemon = t.daemon("a")
    daemon.qmp.command("host-set-parameters", {"max-bandwidth": 123456})
    for text in ("{ this is no JSON", "[]", '{"version": 2, "parameters": {}}', '{"version": 1}',
                 '{"version": 1, "parameters": {"max-outgoing": -1}}'):
        with open(stored(daemon), "w") as f:
            f.write(text)
        daemon = restart(t, daemon)
        # Whether TLS was required is not known any more.
        t.check(parameters(daemon) == {**DEFAULTS, "tls-required": True}, f"{text}: {parameters(daemon)}")
        t.check("settings/host" in daemon.log_text(), f"{text}: the log does not name the file")


migdtest.main(kvm=False)
