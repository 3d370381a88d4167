#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The command line, the sockets and the state directory: what is wrong is said at once, what is left over is taken care of."""

import json
import os
import signal
import socket
import stat
import subprocess

import attach_peer
import migd_process
import migdtest
from migd_process import wait_until

OK = ["--qmp", "q", "--attach", "a"]


def run(t, *arguments, timeout=20):
    return subprocess.run([migd_process.program("migd"), *arguments], cwd=t.dir, capture_output=True, text=True,
                          timeout=timeout)


def test_wrong_options(t):
    for arguments, word in ((["--qmp", "", "--attach", "a"], "--qmp"), (["--qmp", "q", "--attach", ""], "--attach"),
                            (["--qmp", "x", "--attach", "x"], "different paths"), ([*OK, "--nonsense"], "--nonsense"),
                            ([*OK, "--log-level", "loud"], "'loud'"), ([*OK, "extra"], "'extra'"), (["--qmp"], "needs a value"),
                            ([*OK, "--state-dir", ""], "--state-dir")):
        result = run(t, *arguments)
        t.check(result.returncode == 2 and word in result.stderr, f"{arguments}: {result}")
    t.check(os.listdir(t.dir) == [], "something was made")


def test_help_and_version(t):
    for option, word in ("--help", "--state-dir DIR"), ("--version", "migd 0."):
        result = run(t, option)
        t.check(result.returncode == 0 and word in result.stdout, f"{result}")


def test_sockets_that_cannot_be(t):
    open(os.path.join(t.dir, "file"), "w").close()
    for arguments, word in ((["--qmp", "no/such/q", "--attach", "a"], "directory must exist"),
                            (["--qmp", "file", "--attach", "a"], "no socket is there"),
                            (["--qmp", "q", "--attach", "x" * 200], "can have 107 bytes")):
        result = run(t, *arguments, "--state-dir", "s", "--foreground")
        t.check(result.returncode == 1 and word in result.stderr, f"{arguments}: {result}")
    t.check(sorted(os.listdir(t.dir)) == ["file", "s"], f"left behind: {os.listdir(t.dir)}")
    result = run(t, *OK, "--state-dir", "no/such/dir", "--foreground")
    t.check(result.returncode == 1 and "no/such/dir" in result.stderr, f"{result}")


def test_ends_cleanly(t):
    for sig in signal.SIGTERM, signal.SIGINT:
        daemon = t.daemon("a")
        for path in daemon.qmp_path, daemon.attach_path:
            t.check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, f"{path}: the mode")
        peer = attach_peer.attached(daemon)
        daemon.signal(signal.SIGHUP)
        wait_until(lambda d=daemon: "looking for changed files" in d.log_text(), "SIGHUP is noticed")
        t.check(daemon.kill(sig) == 0, "the exit status")
        peer.wait_closed()
        t.check(not os.path.exists(daemon.qmp_path) and not os.path.exists(daemon.attach_path), "the sockets are gone")


def test_one_daemon_a_directory(t):
    first = t.daemon("a")
    for arguments, word in ((["--qmp", "q", "--attach", "a2", "--state-dir", first.state_dir], "another migd uses"),
                            (["--qmp", first.qmp_path, "--attach", "a2", "--state-dir", "s"], "another process listens"),
                            (["--qmp", "q", "--attach", first.attach_path, "--state-dir", "s"], "another process listens")):
        result = run(t, *arguments, "--foreground")
        t.check(result.returncode == 1 and word in result.stderr, f"{arguments}: {result}")
    t.check(first.qmp.command("query-guests") == [], "the first goes on")
    first.connect().close()
    attach_peer.attached(first)


def test_after_a_crash(t):
    daemon = t.daemon("a")
    daemon.kill()
    t.check(os.path.exists(daemon.qmp_path), "it had no time to clean up")
    again = t.daemon("a")
    t.check(again.qmp.command("query-guests") == [], "a successor starts")


def journal(**changes):
    return {"version": 1, "id": "ab" * 16, "guest": "g", "outgoing": True, "exit-on-error": False, "uri": "tcp:127.0.0.1:1",
            "handover-id": "cd" * 16, "listen": "", "worker-pid": 1, "worker-start-time": 1, "vmm-pid": 999999999,
            "vmm-start-time": 1, **changes}


def test_leftovers_in_the_state_directory(t):
    base = os.path.join(t.dir, "a", "state")
    os.makedirs(os.path.join(base, "migrations"))
    os.makedirs(os.path.join(base, "workers"))

    def put(name, content):
        with open(os.path.join(base, "migrations", name), "w") as f:
            f.write(content)
    put("00" * 16 + ".json", "{ not json")
    put("11" * 16 + ".json", json.dumps(journal(version=99)))
    put("22" * 16 + ".json", json.dumps({"version": 1}))
    put("33" * 16 + ".json", "")
    put("notes.txt", "not ours")
    stale = os.path.join(base, "workers", "44" * 16 + ".sock")
    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind(os.path.relpath(stale))
    put("ab" * 16 + ".json", json.dumps(journal()))
    daemon = t.daemon("a")
    log = daemon.log_text()
    for name in "00", "11", "22", "33":
        t.check(f"name='{name * 16}.json'" in log, f"{name}: not mentioned")
    t.check("version 99 is not known" in log, "why")
    t.check(not os.path.exists(stale), "a socket without journal is removed")
    t.check(sorted(os.listdir(os.path.join(base, "migrations"))) == [f"{n * 16}.json" for n in ("00", "11", "22", "33")]
            + ["notes.txt"], "what was settled is removed, what is not understood is left")
    # Its VMM is gone as well: that is known, and told.
    info = daemon.qmp.command("query-migrate", {"guest": "g"})
    t.check(info["status"] == "failed" and "ended" in info["error-desc"], f"{info}")
    t.check(daemon.guest("g")["attached"] is False, "only its record is there")
    # A new guest may have its name.
    _peer = attach_peer.attached(daemon, "g")
    t.check(daemon.qmp.command("query-migrate", {"guest": "g"}) == {}, "and not its past")


def test_leaves_the_terminal(t):
    # Its log goes on where it began: to a file here, for a pipe would keep run() waiting.
    with open(os.path.join(t.dir, "log"), "w") as log:
        status = subprocess.call([migd_process.program("migd"), *OK, "--state-dir", "s"], cwd=t.dir, stdout=log, stderr=log,
                                 timeout=20)
    t.check(status == 0, f"status {status}")
    probe = socket.socket(socket.AF_UNIX)
    probe.connect(os.path.join(t.dir, "q"))
    pid = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
    try:
        t.check(os.getsid(pid) != os.getsid(0), "its own session")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(os.path.join(t.dir, "q")), "it ends")
    result = run(t, "--qmp", "no/such/q", "--attach", "a", "--state-dir", "s")
    t.check(result.returncode == 1, f"a failure reaches the one who started it: {result}")


migdtest.main(kvm=False)
