#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""QEMU's own Python client, its qmp-shell in both modes, and socat drive a migd as if it were a QEMU."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys

import migd_process
import migdtest

PYTHON = os.path.join(os.environ.get("MIGD_QEMU_DIR") or os.path.join(migd_process.SOURCE_DIR, "build", "qemu"), "python")


def need_package():
    if not os.path.exists(os.path.join(PYTHON, "qemu/qmp/qmp_shell.py")):
        raise migdtest.Skip(f"qemu.qmp is not in {PYTHON}: run scripts/fetch-analyzer")
    if PYTHON not in sys.path:
        sys.path.insert(0, PYTHON)


def client_module():
    need_package()
    import qemu.qmp  # pylint: disable=import-outside-toplevel,import-error
    return qemu.qmp


async def session(path, name="migd"):
    client = client_module().QMPClient(name)
    await client.connect(path)
    return client


async def next_status(listener, *ends):
    """The data of MIGRATION events up to the first whose status is one of `ends`."""
    seen = []
    while True:
        event = await asyncio.wait_for(listener.get(), 60)
        if event["event"] == "MIGRATION":
            seen.append(event["data"]["status"])
            if seen[-1] in ends:
                return seen


async def drive_migration(qmp, src, dst):
    a, b = await session(src), await session(dst)
    greeting = a.greeting._asdict()["QMP"]
    assert greeting["capabilities"] == ["oob"] and "migd" in greeting["version"]["package"], greeting
    assert (await a.execute("query-version"))["package"] == greeting["version"]["package"]
    for side in a, b:
        await side.execute("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    try:
        await a.execute("no-such-command")
        raise AssertionError("no-such-command was found")
    except qmp.ExecuteError as e:
        assert e.error_class == "CommandNotFound", e.error_class
    assert await a.execute("query-jobs") == []
    assert await a.execute("query-yank", oob=True) == []
    with a.listener(("STOP", "RESUME")) as events:
        await a.execute("stop")
        assert (await a.execute("query-status"))["status"] == "paused"
        await a.execute("cont")
        assert [(await asyncio.wait_for(events.get(), 20))["event"] for _ in range(2)] == ["STOP", "RESUME"]
    here, there = qmp.EventListener(("MIGRATION",)), qmp.EventListener(("MIGRATION",))
    a.register_listener(here)
    b.register_listener(there)
    await b.execute("migrate-incoming", {"uri": "tcp:127.0.0.1:0"})
    address = (await b.execute("query-migrate"))["socket-address"][0]
    await a.execute("migrate", {"channels": [{"channel-type": "main", "addr": {
        "transport": "socket", "type": "inet", "host": address["host"], "port": address["port"]}}]})
    seen = await next_status(here, "completed", "failed")
    assert seen == ["setup", "active", "device", "completed"], seen
    seen = await next_status(there, "completed", "failed")
    assert seen == ["setup", "active", "completed"], seen
    assert (await a.execute("query-migrate"))["status"] == "completed"
    assert (await b.execute("query-status")) == {"running": True, "status": "running"}
    await a.disconnect()
    await b.disconnect()


def test_client_migrates_a_guest(t):
    qmp = client_module()
    src, dst = t.pair()
    asyncio.run(drive_migration(qmp, t.a.qmp_path, t.b.qmp_path))
    t.assert_only_runs(dst, src)


def test_guests_sockets_are_as_a_qemus(t):
    """Two guests on each side; the client knows nothing of the others."""
    qmp = client_module()
    a, b = t.daemon("a"), t.daemon("b")
    src, dst = t.vmm(a, name="one"), t.vmm(b, name="one", incoming=True)
    t.vmm(a, name="two"), t.vmm(b, name="two")
    paths = [f"{t.dir}/{side.label}.qmp" for side in (a, b)]
    for side, path in zip((a, b), paths):
        side.qmp.command("guest-open-qmp", {"guest": "one", "path": path})
    asyncio.run(drive_migration(qmp, *paths))
    t.assert_only_runs(dst, src)
    said = shell(paths[1], ["info name", "info status", "quit"], "-H")
    t.check("one" in said and "Status: running" in said, "the human monitor of one guest")
    t.check(dst.wait_exit() == 0, "quit ended that guest's VMM")
    attached = [g["name"] for g in b.qmp.command("query-guests") if g["attached"]]
    t.check(attached == ["two"], f"and no other: {attached}")


async def drive_many(path):
    """Many at once on one connection: each gets the answer to its own id."""
    client = await session(path)
    names = ["query-name", "query-status", "query-version", "query-migrate", "query-uuid", "query-fdsets"] * 20
    answers = await asyncio.gather(*[client.execute(name) for name in names])
    for name, answer in zip(names, answers):
        assert answer == answers[names.index(name)], f"{name}: {answer}"
    # What the parser cannot read is answered without an id: this client takes that for the end.
    await client.disconnect()


def test_client_has_many_commands_at_once(t):
    client_module()
    daemon = t.daemon("a")
    t.vmm(daemon)
    asyncio.run(drive_many(daemon.qmp_path))


def test_legacy_client(t):
    need_package()
    from qemu.qmp.legacy import QEMUMonitorProtocol  # pylint: disable=import-outside-toplevel,import-error
    asyncio.set_event_loop(asyncio.new_event_loop())
    daemon = t.daemon("a")
    t.vmm(daemon, name="g")
    with QEMUMonitorProtocol(daemon.qmp_path) as monitor:
        greeting = monitor.connect()
        t.check(greeting and "QMP" in greeting, f"{greeting}")
        t.check(monitor.cmd("query-name") == {"name": "g"}, "cmd() sends empty arguments")
        reply = monitor.cmd_obj({"execute": "query-name", "id": "mine"})
        t.check(reply == {"return": {"name": "g"}, "id": "mine"}, f"{reply}")
        reply = monitor.cmd_raw("closefd", {"fdname": "x"})
        t.check(reply["error"]["desc"] == "File descriptor named 'x' not found", f"{reply}")
        with open("/dev/null", "rb") as f:
            monitor.send_fd_scm(f.fileno())
            monitor.cmd("getfd", fdname="x")
        monitor.cmd("closefd", fdname="x")
        monitor.cmd("stop")
        t.check(monitor.pull_event(wait=20)["event"] == "STOP", "events")


def shell(path, lines, *options):
    """What qmp-shell prints when these lines are typed."""
    need_package()
    done = subprocess.run([sys.executable, "-c", "from qemu.qmp.qmp_shell import main; main()", *options, path],
                          input="".join(line + "\n" for line in lines), text=True, timeout=60, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "PYTHONPATH": PYTHON, "HOME": os.path.dirname(path)})
    print(done.stdout)
    # It says EOFError if the server is gone before it lets go of it, as after `quit`.
    gone = lines[-1] == "quit" and done.stdout.rstrip().endswith("EOFError")
    assert gone or (done.returncode == 0 and "Traceback" not in done.stdout), f"qmp-shell ended with {done.returncode}"
    return done.stdout


def test_qmp_shell(t):
    daemon = t.daemon("a")
    t.vmm(daemon, name="g")
    said = shell(daemon.qmp_path, [
        "query-name", "migrate-set-parameters downtime-limit=123", "query-migrate-parameters", "query-nonsense",
        "migrate-set-capabilities capabilities=[{'capability':'events','state':true}]"], "-v")
    t.check("Connected to QEMU" in said, "negotiation")
    t.check('"name": "g"' in said and '"downtime-limit": 123' in said, "answers")
    t.check("CommandNotFound" in said and said.count('"return": {}') >= 2, "an error, and answers without a value")


def test_qmp_shell_as_human_monitor(t):
    src, dst = t.pair()
    said = shell(t.b.qmp_path, ["info name", "migrate_incoming tcp:127.0.0.1:0", "info migrate"], "-H")
    t.check("Status: setup" in said, "the destination waits")
    uri = re.search(r"tcp:127.0.0.1:\d+", said)[0]
    said = shell(t.a.qmp_path, [
        "help", "info", "info status", "stop", "info status", "cont", "migrate_set_parameter max-bandwidth 64", "cpu 0",
        "info migrate_parameters", "nonsense", f"migrate -d {uri}"], "-H")
    t.check("Status: running" in said and "Status: paused" in said, "stop and cont")
    t.check("max-bandwidth: 67108864 bytes/s" in said, "a parameter in MiB/s")
    t.check("Error: there is no command 'nonsense'" in said, "an error")
    t.wait_end(src)
    t.wait_end(dst)
    said = shell(t.a.qmp_path, ["info migrate"], "-H")
    t.check("Status: completed" in said and "Time (ms):" in said, "the end")
    t.assert_only_runs(dst, src)


def test_socat(t):
    if not shutil.which("socat"):
        raise migdtest.Skip("socat is not installed: run scripts/install-deps")
    daemon = t.daemon("a")
    t.vmm(daemon, name="g")
    typed = b"{'execute':'qmp_capabilities'}\n\xff{'execute':'query-name','id':[1,{'a':null}]}{\"execute\":\r\n\t\"stop\"}"
    done = subprocess.run(["socat", "-t5", "-", f"UNIX-CONNECT:{daemon.qmp_path}"], input=typed, stdout=subprocess.PIPE,
                          timeout=60, check=True)
    t.check(done.stdout.endswith(b"\r\n") and max(done.stdout) < 0x7F, "ASCII, in lines ended by CR LF")
    said = [json.loads(line) for line in done.stdout.split(b"\r\n") if line]
    t.check("QMP" in said[0] and said[1] == {"return": {}}, f"{said}")
    t.check(said[2]["error"]["desc"].startswith("JSON parse error, stray '"), f"a reset: {said[2]}")
    t.check(said[3] == {"return": {"name": "g"}, "id": [1, {"a": None}]}, f"the id as it was: {said[3]}")
    t.check(said[4]["event"] == "STOP" and said[5] == {"return": {}}, f"an event, then the reply: {said[4:]}")
    t.check(len(said) == 6, f"nothing more: {said}")


migdtest.main()
