#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""What the verbs about ports, objects, descriptors and measurements send and show, and what exit statuses say."""

import json
import os

import migd_ctl
import migdtest
from migd_ctl import ok
from migd_fakeqmp import serve

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVENTS = [{"event": name, "guest": "vm1", "timestamp": {"seconds": 1, "microseconds": 2}} for name in ("STOP", "RESUME", "STOP")]
ADDRESS = {"type": "inet", "host": "0.0.0.0", "port": "4444"}
LISTENER = {"uri": "tcp:0.0.0.0:4444", "address": ADDRESS, "connections": 9, "passed": 6, "undecided": 1,
            "refused": [{"reason": "unnamed", "count": 2}]}


def wrong(t, fake, *args, says):
    status, out, err = migd_ctl.run(fake.path, *args)
    t.check(status == 2 and says in err and not out, f"{args}: {status} {out!r} {err!r}")


def test_ports(t):
    fake = serve(t, host_listen=LISTENER, host_listen_stop={}, query_host_listeners=[[LISTENER]])
    t.check(ok(t, fake, "host-listen", "tcp:0.0.0.0:4444") == "listening on tcp:0.0.0.0:4444\n", "where")
    ok(t, fake, "host-listen-stop", "tcp:0.0.0.0:4444")
    t.check(fake.sent("host-listen") == fake.sent("host-listen-stop") == [{"uri": "tcp:0.0.0.0:4444"}], fake.requests)
    out = ok(t, fake, "host-listeners")
    t.check("tcp:0.0.0.0:4444" in out and "sent away as unnamed: 2" in out, out)
    t.check(json.loads(ok(t, fake, "--json", "host-listeners")) == [LISTENER], "JSON is the answer")


def test_objects(t):
    fake = serve(t, object_add={}, object_del={}, query_objects=[[{"id": "a", "qom-type": "secret", "error": "gone"}]])
    ok(t, fake, "object-add", "tls-creds-x509", "tls0", "dir=/x", "endpoint=server", "verify-peer=off")
    ok(t, fake, "object-add", "authz-list", "az", 'rules=[{"match": "CN=a", "policy": "allow"}]')
    t.check(fake.sent("object-add") == [
        {"qom-type": "tls-creds-x509", "id": "tls0", "dir": "/x", "endpoint": "server", "verify-peer": False},
        {"qom-type": "authz-list", "id": "az", "rules": [{"match": "CN=a", "policy": "allow"}]}], fake.requests)
    ok(t, fake, "object-del", "tls0")
    t.check(fake.sent("object-del") == [{"id": "tls0"}], fake.requests)
    t.check("gone" in ok(t, fake, "objects"), "the error is shown")
    wrong(t, fake, "object-add", "tls-cred-x509", "a", says="did you mean 'tls-creds-x509'?")
    wrong(t, fake, "object-add", "tls-creds-x509", "a", "dri=/x", says="did you mean 'dir'?")
    wrong(t, fake, "object-add", "tls-creds-x509", "a", "endpoint=sever", says="did you mean 'server'?")
    wrong(t, fake, "object-add", "tls-creds-x509", "a", "verify-peer=maybe", says="on or off")


def test_credentials(t):
    good = {"id": "c", "qom-type": "tls-creds-x509", "endpoint": "client", "verify-peer": True, "dir": "/x", "usernames": [],
            "certificates": [{"role": "own", "subject": "CN=h", "issuer": "CN=a", "not-before": "2026-01-01T00:00:00Z",
                              "not-after": "2027-01-01T00:00:00Z", "fingerprint": "00"}]}
    fake = serve(t, query_tls_credentials=[[good], [{**good, "error": "the key is another certificate's"}]])
    out = ok(t, fake, "credentials")
    t.check("CN=h" in out and "until 2027-01-01T00:00:00Z" in out, out)
    status, out, err = migd_ctl.run(fake.path, "credentials")
    t.check(status == 1 and "another certificate's" in out and "'c'" in err, f"{status} {out!r} {err!r}")


def test_descriptors(t):
    fake = serve(t, add_fd={"fdset-id": 3, "fd": 11}, remove_fd={}, query_fdsets=[[{"fdset-id": 3, "fds": [{"fd": 11}]}]])
    t.check(ok(t, fake, "fdset-add", "0", "3") == "set 3, descriptor 11\n", "its number")
    t.check(fake.sent("add-fd") == [{"fdset-id": 3}], fake.requests)
    t.check(ok(t, fake, "fdsets").splitlines()[1].split() == ["3", "11", "-"], "the list")
    ok(t, fake, "fdset-remove", "3", "11")
    t.check(fake.sent("remove-fd") == [{"fdset-id": 3, "fd": 11}], fake.requests)
    wrong(t, fake, "fdset-add", "nine", says="no number")


def test_dirty(t):
    measuring = {"status": "measuring", "start-time": 0, "calc-time": 1, "calc-time-unit": "second", "sample-pages": 512,
                 "mode": "page-sampling"}
    fake = serve(t, calc_dirty_rate={}, query_dirty_rate=[measuring, {**measuring, "status": "measured", "dirty-rate": 42}],
                  set_vcpu_dirty_limit={}, cancel_vcpu_dirty_limit={},
                  query_vcpu_dirty_limit=[[{"cpu-index": 1, "limit-rate": 20, "current-rate": 7}]])
    t.check("42 MiB/s" in ok(t, fake, "-g", "a", "dirty-rate", "mode=page-sampling"), "waits for the result")
    t.check(fake.sent("calc-dirty-rate") == [{"guest": "a", "mode": "page-sampling", "calc-time": 1}], fake.requests)
    wrong(t, fake, "dirty-rate", "mode=page-smpling", says="did you mean 'page-sampling'?")
    ok(t, fake, "dirty-limit", "20", "--vcpu", "1")
    ok(t, fake, "dirty-limit", "off")
    t.check(fake.sent("set-vcpu-dirty-limit") == [{"dirty-rate": 20, "cpu-index": 1}], fake.requests)
    t.check(fake.sent("cancel-vcpu-dirty-limit") == [{}], fake.requests)
    t.check(ok(t, fake, "dirty-limit").splitlines()[1].split() == ["1", "20", "MiB/s", "7", "MiB/s"], "the limits")


def test_guests_and_migrations(t):
    waiting = {"direction": "outgoing", "status": "setup", "uri": "tcp:h:1", "transferred": 0, "priority": 0}
    listed = [{"guest": f"vm{i}", **waiting, **({"queue": {"position": i, "length": 2}} if i else {})} for i in (2, 0, 1)]
    fake = serve(t, system_wakeup={}, quit={}, query_name={"name": "vm1"}, query_uuid={"UUID": "0-1"}, migrate_continue={},
                  query_migrations=[listed], query_migrationthreads=[[{"name": "mig/src/main", "thread-id": 7}]],
                  query_version={"qemu": {"major": 1, "minor": 2, "micro": 3}, "package": "p"}, announce_self={},
                  query_migrate_parameters={"announce-initial": 50, "announce-max": 550, "announce-rounds": 5, "announce-step": 100},
                  query_migrate_capabilities=[[{"capability": "events", "state": True}]], migrate_set_capabilities={})
    ok(t, fake, "-g", "vm1", "wakeup")
    ok(t, fake, "quit")
    ok(t, fake, "-g", "vm1", "switchover")
    t.check(fake.sent("system_wakeup") == [{"guest": "vm1"}] and fake.sent("quit") == [{}], fake.requests)
    t.check(fake.sent("migrate-continue") == [{"guest": "vm1", "state": "pre-switchover"}], fake.requests)
    t.check(ok(t, fake, "name") == "vm1\n" and ok(t, fake, "uuid") == "0-1\n", "name and UUID")
    t.check("migd 1.2.3 (p)" in ok(t, fake, "version"), "the version")
    t.check([line.split()[0] for line in ok(t, fake, "queue").splitlines()] == ["GUEST", "vm1", "vm2"], "the next one first")
    t.check("mig/src/main" in ok(t, fake, "threads"), "the threads")
    ok(t, fake, "announce", "rounds=7", "interfaces=a,b")
    t.check(fake.sent("announce-self") == [{"initial": 50, "max": 550, "rounds": 7, "step": 100, "interfaces": ["a", "b"]}], fake.requests)
    t.check(ok(t, fake, "capabilities").split() == ["events", "on"], "the capabilities")
    ok(t, fake, "capabilities", "events=off", "multifd=on")
    t.check(fake.sent("migrate-set-capabilities") == [{"capabilities": [
        {"capability": "events", "state": False}, {"capability": "multifd", "state": True}]}], fake.requests)
    wrong(t, fake, "capabilities", "events", says="events")


def test_configuration(t):
    info = {"file": "/etc/migd.conf", "config": {"qmp": {"max-clients": 7, "audit": "changes"}, "daemon": {"allow-exec": False}},
            "settings": [], "waiting": ["qmp.max-clients"], "log-level": "info"}
    fake = serve(t, query_config=info, reload_config=info, set_log_level={}, host_reset_parameters={})
    for verb in "config", "reload":
        out = ok(t, fake, verb)
        t.check("/etc/migd.conf" in out and "waits for a restart" in out.split("qmp.max-clients")[1].splitlines()[0], out)
        t.check(out.count("waits for a restart") == 1 and "daemon.allow-exec  no" in out, out)
        t.check(json.loads(ok(t, fake, "--json", verb)) == info, "JSON is the answer")
    ok(t, fake, "log-level", "debug")
    wrong(t, fake, "log-level", "debgu", says="did you mean 'debug'?")
    ok(t, fake, "host-reset", "max-bandwidth")
    ok(t, fake, "host-reset")
    t.check(fake.sent("host-reset-parameters") == [{"parameters": ["max-bandwidth"]}, {}], fake.requests)


def test_human_monitor_and_yank(t):
    fake = serve(t, human_monitor_command="status: active\r\nno \x1b[31m colours\r\n", yank={}, migrate={}, guest_open_qmp={},
                  guest_close_qmp={})
    out = ok(t, fake, "-g", "vm1", "hmp", "info", "migrate")
    t.check(out.splitlines() == ["status: active", "no ?[31m colours"], repr(out))
    t.check(fake.sent("human-monitor-command") == [{"guest": "vm1", "command-line": "info migrate"}], fake.requests)
    ok(t, fake, "-g", "vm1", "yank")
    t.check(fake.sent("yank") == [{"guest": "vm1", "instances": [{"type": "migration"}]}], fake.requests)
    ok(t, fake, "migrate", "--detach", "--start-remote", "--allow-weak-handover", "tcp:h:1")
    t.check(fake.sent("migrate") == [{"uri": "tcp:h:1", "start-remote": True, "allow-weak-handover": True}], fake.requests)
    ok(t, fake, "guest-socket", "vm1", "/run/vm1")
    ok(t, fake, "guest-socket", "--close", "vm1", "/run/vm1")
    t.check(fake.sent("guest-open-qmp") == fake.sent("guest-close-qmp") == [{"guest": "vm1", "path": "/run/vm1"}], fake.requests)


def test_every_command_of_the_schema_has_a_verb(t):
    """Or is here, with the reason."""
    none = {"qmp_capabilities": "the client does it", "query-commands": "migctl qmp", "query-qmp-schema": "migctl qmp",
            "set-parameters": "another name", "getfd": "a name is gone with its session", "closefd": "likewise",
            "query-yank": "a migration is all there is", "query-jobs": "there are none"}
    offered = ok(t, serve(t), "complete", "migctl qmp ").splitlines()[1:]
    commands = {line.split("\t")[0] for line in offered}
    source = ""
    for folder, _, files in os.walk(os.path.join(ROOT, "ctl")):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                source += f.read()
    t.check("migrate" in commands and len(commands) > 50, f"{commands}")
    missing = {c for c in commands - set(none) if f'"{c}"' not in source}
    t.check(not missing, f"there is no verb for {missing}")


def test_chosen_events(t):
    fake = serve(t)
    fake.events = EVENTS
    got = [json.loads(line)["event"] for line in ok(t, fake, "events", "--count", "2", "STOP").splitlines()]
    t.check(got == ["STOP", "STOP"], f"{got}")
    status, out, _ = migd_ctl.run(fake.path, "events", "--timeout", "0.3", "RESUME")
    t.check(status == 9 and len(out.splitlines()) == 1, f"{status} {out!r}")


def test_timeout(t):
    """What was waited for goes on; a guest in doubt has a status of its own."""
    active = {"status": "active"}
    fake = serve(t, query_migrate=[active])
    status, _, err = migd_ctl.run(fake.path, "watch", "--timeout", "0.5")
    t.check(status == 9 and "goes on" in err and "migrate_cancel" not in [r["execute"] for r in fake.requests], f"{status} {err!r}")
    fake.answers["query-migrate"] = [{"status": "device", "handover": {"id": "0", "state": "released", "peer": "tcp:h:1",
                                                                      "in-doubt": True}}]
    status, _, err = migd_ctl.run(fake.path, "watch", "-t", "0.5")
    t.check(status == 7 and "tcp:h:1" in err and "resolve" in err, f"{status} {err!r}")
    fake.answers["query-migrate"] = [{"status": "cancelled"}]
    status, out, err = migd_ctl.run(fake.path, "--json", "watch")
    error = json.loads(out.splitlines()[-1])["error"]
    t.check(status == 6 and error["status"] == 6 and error["reason"] == "migration-cancelled", f"{status} {out!r}")
    for value in "soon", "-1", "nan":
        wrong(t, fake, "watch", f"--timeout={value}", says="no number of seconds")


def test_watch_in_json(t):
    fake = serve(t, query_migrate=[{"status": "setup"}, {"status": "active"}, {"status": "active"}, {"status": "completed"}])
    lines = [json.loads(line)["status"] for line in ok(t, fake, "watch", "--json").splitlines()]
    t.check(lines == ["setup", "active", "completed"], f"{lines}")


def test_a_server_that_goes_silent(t):
    fake = serve(t, query_migrate=[{"status": "active"}])
    os.unlink(fake.path)
    status, _, err = migd_ctl.run(fake.path, "watch", "--timeout", "5")
    t.check(status == 3 and fake.path in err, f"{status} {err!r}")


migdtest.main(kvm=False)
