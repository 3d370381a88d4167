#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""What each command of migctl sends, and how it shows the answer."""

import json
import subprocess

import migd_ctl
import migdtest
from migd_ctl import ok
from migd_fakeqmp import serve

RAM = {"transferred": 3 << 30, "remaining": 1 << 30, "total": 4 << 30, "duplicate": 0, "normal": 0, "normal-bytes": 0,
       "dirty-pages-rate": 256, "mbps": 8000.0, "dirty-sync-count": 3, "page-size": 4096}
ACTIVE = {"status": "active", "total-time": 3000, "expected-downtime": 42, "ram": RAM, "cpu-throttle-percentage": 30}
DONE = {"status": "completed", "total-time": 4000, "downtime": 7, "ram": {**RAM, "remaining": 0, "transferred": 4 << 30}}
FAILED = {"status": "failed", "error-desc": "Failed to connect to 'h:1': Connection refused \x1b[31m"}
DOUBT = {"status": "device", "ram": RAM, "handover": {"id": "0" * 32, "state": "released", "peer": "tcp:h:1",
                                                      "in-doubt": True}}
PARAMETERS = {"downtime-limit": 300, "max-bandwidth": 1 << 27, "cpu-throttle-tailslow": False, "tls-creds": "",
              "cpr-exec-command": []}
CAPABILITIES = [{"capability": "events", "state": False}, {"capability": "multifd", "state": False}]
GUEST = {"name": "vm1", "uuid": "0" * 8, "role": "running", "run-state": "running", "vcpus": 2, "memory": 4 << 30,
         "pid": 77, "attached": True, "epoch": 1}


def test_guests(t):
    fake = serve(t, query_guests=[[GUEST, {**GUEST, "name": "gone", "attached": False}]])
    out = ok(t, fake, "guests")
    t.check("vm1" in out and "4.0 GiB" in out and "(detached)" in out, out)
    t.check(json.loads(ok(t, fake, "guests", "--json"))[0] == GUEST, "JSON is the answer")


def test_simple_commands(t):
    fake = serve(t, guest_attach={}, guest_detach={}, stop={}, cont={}, migrate_cancel={}, migrate_resolve={})
    ok(t, fake, "attach", "vm1", "/run/vm1.sock")
    ok(t, fake, "detach", "vm1")
    ok(t, fake, "-g", "vm1", "stop")
    ok(t, fake, "cont", "--guest=vm1")
    ok(t, fake, "cancel")
    ok(t, fake, "-g", "vm1", "resolve", "run", "--fenced")
    t.check(fake.sent("guest-attach") == [{"id": "vm1", "path": "/run/vm1.sock"}], fake.requests)
    t.check(fake.sent("guest-detach") == [{"guest": "vm1"}], fake.requests)
    t.check(fake.sent("stop") == fake.sent("cont") == [{"guest": "vm1"}], fake.requests)
    t.check(fake.sent("migrate_cancel") == [{}], fake.requests)
    t.check(fake.sent("migrate-resolve") == [{"guest": "vm1", "outcome": "run", "fenced": True}], fake.requests)


def test_migrate_and_wait(t):
    fake = serve(t, migrate={}, query_migrate=[{"status": "setup"}, ACTIVE, ACTIVE, DONE])
    out = ok(t, fake, "-g", "vm1", "migrate", "tcp:h:1")
    t.check(fake.sent("migrate") == [{"guest": "vm1", "uri": "tcp:h:1"}], fake.requests)
    lines = out.splitlines()
    t.check(lines[0].startswith("setup"), out)
    for word in "active", "pass 3", "3.0 GiB done", "1.0 GiB left", "dirty 1.0 MiB/s", "953.7 MiB/s", "downtime ~42 ms", "ETA 2s", \
            "throttled by 30%":
        t.check(word in lines[1], f"{lines[1]!r} lacks {word!r}")
    t.check(len(lines) == 3 and "completed in 4.00 s" in lines[2] and "blackout 7 ms" in lines[2], out)
    t.check("\r" not in out and "\x1b" not in out, "plain lines, without control characters")


def test_migrate_on_a_terminal(t):
    fake = serve(t, migrate={}, query_migrate=[ACTIVE, ACTIVE, DONE])
    status, out = migd_ctl.run_on_terminal(fake.path, "migrate", "tcp:h:1", columns=160)
    t.check(status == 0 and "[####" in out and "\r" in out and "completed in" in out, out)
    fake.answers["query-migrate"] = [ACTIVE, DONE]
    status, out = migd_ctl.run_on_terminal(fake.path, "migrate", "tcp:h:1", columns=40)
    widest = max(len(part.split("\x1b")[0]) for part in out.split("\r") if "completed" not in part)
    t.check(status == 0 and widest <= 40, f"no line is wider than the terminal: {widest}: {out!r}")


def test_migrate_fails(t):
    fake = serve(t, migrate={}, query_migrate=[FAILED])
    status, _, err = migd_ctl.run(fake.path, "migrate", "tcp:h:1")
    t.check(status == 5 and "Connection refused" in err and "\x1b" not in err, f"{status} {err!r}")
    status, out, err = migd_ctl.run(fake.path, "migrate", "tcp:h:1", "--json")
    t.check(status == 5 and json.loads(out.splitlines()[0]) == FAILED, out)
    fake.answers["migrate"] = Exception("it is already in progress")
    status, _, err = migd_ctl.run(fake.path, "migrate", "tcp:h:1")
    t.check(status == 1 and "already in progress" in err, err)


def test_migrate_detached(t):
    fake = serve(t, migrate={})
    t.check(ok(t, fake, "migrate", "--detach", "tcp:h:1") == "", "nothing to say")


def test_strategy(t):
    decided = [{"decision": "throttle", "reason": "a", "pass": 1, "time": 2}, {"decision": "postcopy", "reason": "b", "pass": 3, "time": 4}]
    fake = serve(t, migrate={}, migrate_start_postcopy={}, query_status={"running": True, "status": "running"},
                  query_migrate=[{**ACTIVE, "decisions": decided}])
    ok(t, fake, "migrate", "--detach", "--strategy", "auto", "--deadline", "60000", "--priority", "3", "tcp:h:1")
    t.check(fake.sent("migrate") == [{"uri": "tcp:h:1", "strategy": "auto", "deadline": 60000, "priority": 3}], fake.requests)
    ok(t, fake, "-g", "vm1", "postcopy")
    t.check(fake.sent("migrate-start-postcopy") == [{"guest": "vm1"}], fake.requests)
    status, _, err = migd_ctl.run(fake.path, "migrate", "--deadline", "soon", "tcp:h:1")
    t.check(status == 2 and "deadline" in err and "soon" in err, f"{status} {err!r}")
    t.check("decided:   postcopy: b\n" in ok(t, fake, "status"), "the last decision")


def test_recovery(t):
    fake = serve(t, migrate={}, migrate_pause={}, migrate_recover={})
    ok(t, fake, "-g", "vm1", "pause")
    ok(t, fake, "-g", "vm1", "recover", "tcp:h:2")
    ok(t, fake, "-g", "vm1", "resume", "tcp:h:2")
    t.check(fake.sent("migrate-pause") == [{"guest": "vm1"}], fake.requests)
    t.check(fake.sent("migrate-recover") == [{"guest": "vm1", "uri": "tcp:h:2"}], fake.requests)
    t.check(fake.sent("migrate") == [{"guest": "vm1", "uri": "tcp:h:2", "resume": True}], fake.requests)


def test_postcopy(t):
    """Each side shows what it knows."""
    source = {**ACTIVE, "status": "postcopy-active", "postcopy": {"requested": 512, "prefetched": 0, "background": 7, "recoveries": 2}}
    target = {"status": "postcopy-active", "postcopy": {"missing": 256, "faults": 9, "recoveries": 0,
              "fault-latency": {"min": 1, "mean": 2, "p50": 250000, "p90": 3, "p99": 12500000, "max": 4}}}
    done = {**DONE, "postcopy": source["postcopy"], "ram": {**DONE["ram"], "postcopy-bytes": 3 << 20}}
    fake = serve(t, query_status={"running": False, "status": "finish-migrate"}, query_migrate=[source, target, done])
    out = ok(t, fake, "status")
    t.check("postcopy-active" in out and "2.0 MiB asked for, 1.0 GiB left" in out and "2 recoveries" in out, out)
    out = ok(t, fake, "status")
    t.check("1.0 MiB missing, waited for pages 9 times, half of them up to 0.25 ms, 99 of 100 up to 12.50 ms" in out, out)
    out = ok(t, fake, "watch")
    t.check("3.0 MiB by post-copy, of which 2.0 MiB were asked for" in out, out)


def test_in_doubt_is_said(t):
    fake = serve(t, query_status={"running": False, "status": "finish-migrate"}, query_migrate=[DOUBT])
    out = ok(t, fake, "status")
    t.check("IN DOUBT" in out and "resolve" in out and "tcp:h:1" in out, out)


def test_incoming(t):
    listening = {"status": "setup", "socket-address": [{"type": "inet", "host": "::1", "port": "4444"}]}
    fake = serve(t, migrate_incoming={}, query_migrate=[listening])
    t.check(ok(t, fake, "incoming", "tcp:[::1]:0") == "listening on tcp:[::1]:4444\n", "the address, port included")
    t.check(fake.sent("migrate-incoming") == [{"uri": "tcp:[::1]:0", "exit-on-error": False}], fake.requests)
    fake.answers["query-migrate"] = [listening, {"status": "completed"}]
    t.check("completed" in ok(t, fake, "incoming", "--wait", "tcp:[::1]:0"), "waits for the end")
    fake.requests.clear()
    ok(t, fake, "incoming", "--lazy", "file:/g")
    t.check(fake.sent("migrate-incoming") == [{"uri": "file:/g", "exit-on-error": False, "lazy": True}], fake.requests)


def test_set(t):
    fake = serve(t, query_migrate_parameters=PARAMETERS, query_migrate_capabilities=[CAPABILITIES],
                  migrate_set_parameters={}, migrate_set_capabilities={})
    out = ok(t, fake, "set")
    t.check("downtime-limit" in out and "300" in out and "multifd" in out and "off" in out, out)
    ok(t, fake, "-g", "x", "set", "downtime-limit=100", "max-bandwidth=2G", "events=on", "cpu-throttle-tailslow=on",
       "tls-creds=abc", 'cpr-exec-command=["a"]')
    t.check(fake.sent("migrate-set-parameters") == [
        {"guest": "x", "downtime-limit": 100, "max-bandwidth": 2 << 30, "cpu-throttle-tailslow": True, "tls-creds": "abc",
         "cpr-exec-command": ["a"]}], fake.requests)
    t.check(fake.sent("migrate-set-capabilities") == [
        {"guest": "x", "capabilities": [{"capability": "events", "state": True}]}], fake.requests)
    for wrong in "nonsense=1", "downtime-limit", "downtime-limit=soon", "downtime-limit=1X", "events=maybe", \
            "max-bandwidth=99999999999G", "max-bandwidth=-1":
        status, _, err = migd_ctl.run(fake.path, "set", wrong)
        t.check(status == 2 and wrong.split("=")[0] in err, f"{wrong}: {status} {err!r}")


def test_host(t):
    now = {"max-bandwidth": 0, "max-outgoing": 2, "source-address": "", "tls-required": False}
    fake = serve(t, query_host_parameters=now, host_set_parameters={})
    out = ok(t, fake, "host")
    t.check("max-outgoing" in out and "2" in out and "tls-required" in out and "off" in out, out)
    t.check(json.loads(ok(t, fake, "host", "--json")) == now, "JSON is the answer")
    ok(t, fake, "host", "max-bandwidth=10G", "max-outgoing=3", "source-address=192.0.2.1", "tls-required=on")
    t.check(fake.sent("host-set-parameters") == [
        {"max-bandwidth": 10 << 30, "max-outgoing": 3, "source-address": "192.0.2.1", "tls-required": True}], fake.requests)
    for wrong in "nonsense=1", "max-outgoing", "max-outgoing=many":
        status, _, err = migd_ctl.run(fake.path, "host", wrong)
        t.check(status == 2 and wrong.split("=")[0] in err, f"{wrong}: {status} {err!r}")


def test_list(t):
    one = {"guest": "vm1", "direction": "outgoing", "status": "active", "uri": "tcp:h:1", "transferred": 3 << 30,
           "priority": 2, "host-share": 5 << 20}
    two = {"guest": "vm\x1b[31m2", "direction": "outgoing", "status": "setup", "uri": "tcp:h:2", "transferred": 0,
           "priority": 0, "queue": {"position": 1, "length": 4}}
    three = {"guest": "vm3", "direction": "incoming", "status": "completed", "uri": "tcp:h:3", "transferred": 1 << 20}
    fake = serve(t, query_migrations=[[one, two, three]])
    lines = ok(t, fake, "list").splitlines()
    for line, words in zip(lines[1:], (("vm1", "outgoing", "active", "2", "5.0 MiB/s", "3.0 GiB", "tcp:h:1"),
                                       ("setup", "waits, 1 of 4"), ("vm3", "incoming", "completed", "1.0 MiB"))):
        for word in words:
            t.check(word in line, f"{line!r} lacks {word!r}")
        t.check("\x1b" not in line, line)
    t.check(json.loads(ok(t, fake, "list", "--json")) == [one, two, three], "JSON is the answer")


def test_priority(t):
    waits = {"status": "setup", "queue": {"position": 2, "length": 3}}
    fake = serve(t, migrate={}, migrate_set_priority={},
                  query_migrate=[waits, {**waits, "queue": {"position": 1, "length": 3}}, ACTIVE, DONE])
    lines = ok(t, fake, "migrate", "--priority", "-3", "tcp:h:1").splitlines()
    t.check(fake.sent("migrate") == [{"uri": "tcp:h:1", "priority": -3}], fake.requests)
    t.check("number 2 of 3" in lines[0] and "number 1 of 3" in lines[1] and "active" in lines[2], f"{lines}")
    ok(t, fake, "-g", "vm1", "priority", "8")
    ok(t, fake, "priority", "--", "-8")
    t.check(fake.sent("migrate-set-priority") == [{"guest": "vm1", "priority": 8}, {"priority": -8}], fake.requests)
    for wrong in ("priority", "high"), ("migrate", "--priority", "high", "tcp:h:1"), ("status", "--priority", "1"):
        status, _, err = migd_ctl.run(fake.path, *wrong)
        t.check(status == 2 and "priority" in err or "option" in err, f"{wrong}: {status} {err!r}")


def test_qmp(t):
    fake = serve(t, query_name={"name": "vm1"})
    raw = '{"execute": "query-name", "id": [1, null]}'
    t.check(json.loads(ok(t, fake, "qmp", raw)) == {"return": {"name": "vm1"}, "id": [1, None]}, "as it is")
    t.check(json.loads(ok(t, fake, "qmp", "query-name", "-g", "vm1")) == {"return": {"name": "vm1"}}, "by name")
    t.check(fake.sent("query-name")[-1] == {"guest": "vm1"}, fake.requests)
    out = ok(t, fake, "qmp", stdin=raw + "\n\n" + raw + "\n")
    t.check(len(out.splitlines()) == 2, out)
    status, out, _ = migd_ctl.run(fake.path, "qmp", "nope")
    t.check(status == 1 and json.loads(out)["error"]["class"] == "CommandNotFound", out)


def test_events(t):
    fake = serve(t)
    fake.events = [{"event": "STOP", "guest": "a", "timestamp": {"seconds": 1, "microseconds": 2}},
                   {"event": "RESUME", "guest": "b", "timestamp": {"seconds": 1, "microseconds": 2}}]
    process = subprocess.Popen([migd_ctl.program("migctl"), "-s", fake.path, "-g", "b", "events"], stdout=subprocess.PIPE,
                               text=True)
    try:
        t.check(json.loads(process.stdout.readline())["event"] == "RESUME", "only that guest's")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


migdtest.main(kvm=False)
