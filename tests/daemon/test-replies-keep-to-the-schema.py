#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""All tests compare what migd says with its schema: what breaks it is found, and what every query answers does not."""

import migd_schema
import migdtest

STAMP = {"seconds": 1, "microseconds": 2}


def test_what_breaks_the_schema_is_found(t):
    qmp = t.daemon("a").qmp
    schema = qmp.schema()
    status = qmp.command("query-version")
    for command, value, words in (
            ("query-version", {}, "'qemu' is missing"),
            ("query-version", {**status, "more": 1}, "'more' is not in the schema"),
            ("query-version", {**status, "package": 1}, "is no string"),
            ("query-version", {**status, "qemu": {**status["qemu"], "major": True}}, "is no int"),
            ("query-version", {**status, "qemu": {**status["qemu"], "major": 1.5}}, "is no int"),
            ("query-status", {"running": 1, "status": "running"}, "is no boolean"),
            ("query-status", {"running": True, "status": "jumping"}, "is none of"),
            ("query-commands", {"name": "x"}, "is no array"),
            ("query-commands", [{"name": "x"}, {}], r"[1]: 'name' is missing"),
            ("query-migrate-parameters", {"tls-creds": 3}, "none of the alternate's"),
            ("query-migrate", {"socket-address": [{"type": "unix"}]}, "'path' is missing"),
            ("query-migrate", {"socket-address": [{"type": "unix", "path": "p", "host": "h"}]}, "'host' is not in"),
            ("stop", {"x": 1}, "'x' is not in the schema"),
            ("nope", {}, "no command 'nope'")):
        try:
            schema.check_return(command, value)
        except migd_schema.SchemaError as e:
            t.check(words in str(e), f"{command}: {e}")
        else:
            raise AssertionError(f"{command}: {value} was let through")


def test_messages_have_their_form(t):
    schema = t.daemon("a").qmp.schema()
    for message, words in (
            ({"return": {}, "error": {}}, "neither or both"),
            ({"id": 1}, "neither or both"),
            ({"return": {}, "event": "STOP"}, "more members"),
            ({"return": {}, "more": 1}, "more members"),
            ({"error": {"class": "GenericError"}}, "an error"),
            ({"error": {"class": "NewError", "desc": ""}}, "an error"),
            ({"event": "STOP", "data": {}}, "timestamp"),
            ({"event": "STOP", "timestamp": {"seconds": 1}}, "timestamp"),
            ({"event": "NOPE", "timestamp": STAMP}, "no event 'NOPE'"),
            ({"event": "MIGRATION_PASS", "timestamp": STAMP, "data": {"pass": "1", "guest": "g"}}, "is no int"),
            ({"event": "RESET", "timestamp": STAMP}, "is missing")):
        try:
            schema.check_message(message)
        except migd_schema.SchemaError as e:
            t.check(words in str(e), f"{message}: {e}")
        else:
            raise AssertionError(f"{message} was let through")


def test_every_query_keeps_to_it(t):
    daemon = t.daemon("a")
    t.vmm(daemon)
    asked = 0
    for name in sorted(c["name"] for c in daemon.qmp.command("query-commands")):
        if not name.startswith("query-"):
            continue
        try:
            daemon.qmp.command(name)
            asked += 1
        except migdtest.QmpError as e:
            print(f"{name}: {e.desc}")
    t.check(asked > 15, f"only {asked} queries were answered")


migdtest.main()
