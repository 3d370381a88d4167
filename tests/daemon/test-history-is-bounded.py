#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""What is kept of migrations that are over is bounded, and whatever its files are does no harm."""

import json
import os
import shutil
import time

import migdtest
from migd_process import wait_until
from migd_qmp import QmpError
from migd_record import history, record_of


def configure(t, text):
    path = os.path.join(t.dir, "migd.conf")
    with open(path, "w") as f:
        f.write(text)
    return ["--config", path]


def records(daemon):
    return os.path.join(daemon.state_dir, "records")


def files(daemon):
    return sorted(os.listdir(records(daemon)))


def fail_once(t, vmm):
    """The smallest migration there is."""
    vmm.command("migrate", {"uri": "tcp:127.0.0.1:1"})
    t.assert_failed(vmm)
    return vmm.migration()["id"]


def restart(t, daemon, **options):
    daemon.kill(15)
    daemon.drop_session()
    return t.daemon(daemon.name, **options)


def refused(t, daemon, command, arguments, *words):
    try:
        daemon.qmp.command(command, arguments)
    except QmpError as e:
        t.check(all(w in str(e) for w in words), f"{e} does not say {words}")
        return
    raise AssertionError(f"{command} {arguments} was not refused")


def test_the_oldest_go(t):
    daemon = t.daemon("a", extra=configure(t, "[history]\nmax-records = 5\n"))
    vmm = t.vmm(daemon)
    ids = [fail_once(t, vmm) for _ in range(15)]
    t.check([e["id"] for e in history(daemon)] == ids[:-6:-1], f"the last five, the last one first: {history(daemon)}")
    t.check(files(daemon) == sorted(f"{i}.json" for i in ids[-5:]), f"and no other file: {files(daemon)}")
    for name in files(daemon):
        with open(os.path.join(records(daemon), name)) as f:
            t.check(json.load(f)["record"]["id"] + ".json" == name, "each is one JSON object")
    # A smaller limit holds for what there is.
    daemon = restart(t, daemon, extra=configure(t, "[history]\nmax-records = 2\n"))
    t.check([e["id"] for e in history(daemon)] == ids[:-3:-1] and len(files(daemon)) == 2, f"{files(daemon)}")


def test_those_that_are_too_old_go(t):
    daemon = t.daemon("a", extra=configure(t, "[history]\nmax-age = 1\n"))
    old, young = (fail_once(t, t.vmm(daemon, name=n)) for n in ("g1", "g2"))
    daemon.kill()
    path = os.path.join(records(daemon), old + ".json")
    with open(path) as f:
        text = f.read()
    started = json.loads(text)["entry"]["started"]
    with open(path, "w") as f:
        f.write(text.replace(str(started), str(started - 2 * 3600 * 10**6)))
    daemon.drop_session()
    daemon = t.daemon("a", extra=configure(t, "[history]\nmax-age = 1\n"))
    t.check([e["id"] for e in history(daemon)] == [young] and files(daemon) == [young + ".json"], f"{history(daemon)}")


def test_asked_for_by_a_beginning(t):
    daemon = t.daemon("a")
    vmm = t.vmm(daemon)
    ids = [fail_once(t, vmm) for _ in range(17)]  # two of them begin with the same digit
    t.check(record_of(vmm, id=ids[3])["id"] == ids[3] and record_of(vmm, id=ids[3][:20])["id"] == ids[3], "by its id")
    t.check(record_of(vmm)["id"] == ids[-1], "the guest's last")
    twice = next(d for d in "0123456789abcdef" if sum(i.startswith(d) for i in ids) > 1)
    refused(t, daemon, "query-migration-record", {"id": twice}, "begin with")
    refused(t, daemon, "query-migration-record", {"id": "zz"}, "no record")
    refused(t, daemon, "query-migration-record", {"id": ""}, "no record")
    refused(t, daemon, "query-migration-record", {"guest": "other"}, "no record", "other")
    refused(t, daemon, "query-migration-record", {"id": ids[0], "guest": "g"}, "id", "guest")
    t.check(daemon.qmp.command("query-migration-record")["id"] == ids[-1], "the last one of all")
    daemon.qmp.command("migration-forget", {"id": ids[3]})
    t.check(ids[3] not in [e["id"] for e in history(daemon)] and f"{ids[3]}.json" not in files(daemon), "it is forgotten")
    refused(t, daemon, "migration-forget", {"id": ids[3]}, "no record")
    vmm.kill()
    wait_until(lambda: daemon.guest("g") is None or not daemon.guest("g")["attached"], "it is gone")
    t.check(daemon.qmp.command("query-migration-record", {"guest": "g"})["id"] == ids[-1], "its record is not")


def test_files_that_are_no_records(t):
    daemon = t.daemon("a")
    vmm = t.vmm(daemon)
    good, cut, longer, other = (fail_once(t, vmm) for _ in range(4))
    daemon.kill()
    daemon.drop_session()

    def change(ident, fn):
        path = os.path.join(records(daemon), ident + ".json")
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(fn(text))

    change(cut, lambda s: s[:len(s) // 2])
    change(longer, lambda s: s.replace('"format":1', '"format":2'))
    change(other, lambda s: s.replace(other, "f" * 32))
    for name, text in ("0" * 32 + ".json", ""), ("1" * 32 + ".json", "\0" * 100000), ("2" * 32 + ".json", "[[[[" * 5000), \
            ("3" * 32 + ".json", '{"format": 1, "entry": {}},\n'), ("4" * 32 + ".new", "half"), ("readme", "?"):
        with open(os.path.join(records(daemon), name), "w") as f:
            f.write(text)
    os.mkdir(os.path.join(records(daemon), "5" * 32 + ".json"))
    os.symlink("/dev/zero", os.path.join(records(daemon), "6" * 32 + ".json"))
    os.mkfifo(os.path.join(records(daemon), "7" * 32 + ".json"))
    daemon = t.daemon("a")
    # A record whose second half is missing can be listed, and not be read.
    t.check({e["id"] for e in history(daemon)} - {cut} == {good}, f"{history(daemon)}")
    if cut in [e["id"] for e in history(daemon)]:
        refused(t, daemon, "query-migration-record", {"id": cut}, "cut off")
    log = daemon.log_text()
    for ident in longer, other, *(d * 32 for d in "0123567"):
        t.check(log.count(f"records/{ident}.json") == 1, f"{ident} is told of once")
    t.check("format 2 is not known" in log, "a future format is called so")
    t.check("4" * 32 + ".new" not in files(daemon) and "readme" in files(daemon), f"what a crash left goes: {files(daemon)}")
    vmm.daemon = daemon
    vmm.wait_attached()
    last = fail_once(t, vmm)
    t.check(history(daemon)[0]["id"] == last, "and it is kept on")


def test_a_thousand_do_not_slow_the_start_down(t):
    """No limit on time here: what was measured is in docs/history.md. All are there, and answers come."""
    daemon = t.daemon("a")
    vmm = t.vmm(daemon)
    ident = fail_once(t, vmm)
    daemon.kill()
    daemon.drop_session()
    with open(os.path.join(records(daemon), ident + ".json")) as f:
        text = f.read()
    for n in range(999):
        with open(os.path.join(records(daemon), f"{n:032x}.json"), "w") as f:
            f.write(text.replace(ident, f"{n:032x}"))
    begun = time.monotonic()
    daemon = t.daemon("a")
    ready = time.monotonic()
    t.check(len(history(daemon)) == 1000, "all are listed")
    print(f"ready after {(ready - begun) * 1000:.0f} ms, the first list took {(time.monotonic() - ready) * 1000:.0f} ms")


def test_a_directory_that_cannot_be_used(t):
    daemon = t.daemon("a")
    daemon.kill()
    daemon.drop_session()
    shutil.rmtree(records(daemon))
    with open(records(daemon), "w"):
        pass
    daemon = t.daemon("a")
    vmm = t.vmm(daemon)
    ids = [fail_once(t, vmm) for _ in range(3)]
    # The last one is in memory as long as its guest is here.
    t.check([e["id"] for e in history(daemon)] == [ids[-1]] and record_of(vmm)["status"] == "failed", f"{history(daemon)}")
    t.check(daemon.log_text().count("history of migrations has holes") == 1, "said once")
    dst = t.incoming(daemon, {}, name="g2")
    t.check(dst.migration() == {}, "and nothing else suffers")


migdtest.main()
