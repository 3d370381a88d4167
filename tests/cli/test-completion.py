#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The TAB key in a real bash and a real zsh, and what migctl offers them."""

import os
import re
import shutil
import time

import migd_ctl
import migd_fakeqmp
import migd_pty
import migdtest

PROGRAM = os.path.dirname(migd_ctl.program("migctl"))
GUESTS = [[{"name": "web1", "run-state": "running"}, {"name": "web2", "run-state": "paused"}, {"name": "db", "run-state": "running"}]]


def server(t):
    fake = migd_fakeqmp.FakeQmp(os.path.join(t.dir, "qmp"), {
        "query-guests": GUESTS, "query-objects": [[{"id": "tls0", "qom-type": "tls-creds-x509"}]],
        "query-host-listeners": [[{"uri": "tcp:0.0.0.0:4444"}]]})
    t.cleanup.callback(fake.close)
    return fake.path


def offered(t, path, line):
    status, out, err = migd_ctl.run(path, "complete", line)
    t.check(status == 0 and not err, f"{line!r}: {status} {err!r}")
    return [candidate.split("\t")[0] for candidate in out.splitlines()[1:]]


def test_what_is_offered(t):
    path = server(t)
    for line, words in (
            ("migctl mig", ["migrate"]), ("migctl resolve ", ["run", "discard"]), ("migctl -g we", ["web1", "web2"]),
            ("migctl --guest=d", ["--guest=db"]), ("migctl -g web1 detach ", ["web1", "web2", "db"]),
            ("migctl set multifd=", ["multifd=on", "multifd=off"]), ("migctl set tls-creds=", ["tls-creds=tls0"]),
            ("migctl set multifd=on zero-page-detection=m", ["zero-page-detection=multifd"]),
            ("migctl host max-o", ["max-outgoing="]), ("migctl host tls-required=o", ["tls-required=on", "tls-required=off"]),
            ("migctl object-add tls-creds-p", ["tls-creds-psk"]), ("migctl object-add tls-creds-psk a u", ["username="]),
            ("migctl object-del ", ["tls0"]), ("migctl host-listen-stop ", ["tcp:0.0.0.0:4444"]),
            ("migctl migrate --strategy ", ["precopy", "postcopy", "auto"]), ("migctl migrate --strategy=a", ["--strategy=auto"]),
            ("migctl migrate --pref", ["--preflight"]), ("migctl cancel --pref", []), ("migctl migrate vs", ["vsock:"]),
            ("migctl dirty-rate mode=dirty-b", ["mode=dirty-bitmap"]), ("migctl capabilities mapped", ["mapped-ram="]),
            ("migctl events MIGRATION_P", ["MIGRATION_PASS", "MIGRATION_PREFLIGHT"]), ("migctl qmp query-uu", ["query-uuid"]),
            ("migctl help reso", ["resolve"]), ("migctl cancel ", []), ("migctl nonsense ", []), ("migctl -- --", [])):
        t.check(offered(t, path, line) == words, f"{line!r}: {offered(t, path, line)}, not {words}")


def test_files(t):
    os.makedirs(os.path.join(t.dir, "folder"))
    open(os.path.join(t.dir, "file one"), "w").close()
    for before in "migctl migrate file:", "migctl attach name ", "migctl -s ", "migctl --socket=":
        word = before.split(" ")[-1]
        t.check(offered(t, "/x", f"{before}{t.dir}/fo") == [f"{word}{t.dir}/folder/"], before)
    t.check(offered(t, "/x", f"migctl attach name '{t.dir}/file o") == [f"{t.dir}/file one"], "in quotes")


def test_no_daemon_is_no_reason_to_wait(t):
    started = time.monotonic()
    t.check(offered(t, os.path.join(t.dir, "nobody"), "migctl -g ") == [], "nothing is known")
    t.check(time.monotonic() - started < 20, "at once")


def complete_in(t, tty, typed, line):
    """Type, press TAB, and see the line become that; then drop it."""
    tty.type(typed + "\t")
    tty.expect(re.escape(line))
    tty.type("\x15")
    time.sleep(0.05)


def type_all(t, tty):
    complete_in(t, tty, "migctl migr", "migctl migrate")
    complete_in(t, tty, "migctl -g d", "migctl -g db")
    complete_in(t, tty, "migctl set multifd-comp", "migctl set multifd-compression=")
    complete_in(t, tty, "migctl set multifd-compression=zs", "multifd-compression=zstd")
    complete_in(t, tty, "migctl resolve d", "migctl resolve discard")
    complete_in(t, tty, "migctl host-listen-stop tcp:0.0.0.0:", "tcp:0.0.0.0:4444")
    complete_in(t, tty, f"migctl migrate file:{t.dir}/fold", f"file:{t.dir}/folder/")
    complete_in(t, tty, "migctl migrate --strategy=au", "--strategy=auto")


def environment(t):
    os.makedirs(os.path.join(t.dir, "folder"))
    return {"MIGD_SOCKET": server(t), "PATH": PROGRAM + ":" + os.environ["PATH"], "PS1": "ready> ", "HOME": t.dir,
            "ZDOTDIR": t.dir}


def test_bash(t):
    with migd_pty.Terminal(["bash", "--norc", "--noprofile", "-i"], environment(t), columns=200) as tty:
        tty.expect("ready> ")
        tty.type("source <(migctl completion bash); echo it-is-$((1+1))\r")
        tty.expect("it-is-2")
        tty.expect("ready> ")
        type_all(t, tty)


def test_zsh(t):
    if not shutil.which("zsh"):
        raise migdtest.Skip("zsh is not installed (package zsh)")
    folder = os.path.join(t.dir, "functions")
    os.makedirs(folder)
    with open(os.path.join(folder, "_migctl"), "w") as f:
        f.write(migd_ctl.run("/x", "completion", "zsh")[1])
    with migd_pty.Terminal(["zsh", "-f", "-i"], environment(t), columns=200) as tty:
        tty.expect("ready> ")
        tty.type(f"unsetopt zle_bracketed_paste; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; echo it-is-$((1+1))\r")
        tty.expect("it-is-2")
        tty.expect("ready> ")
        type_all(t, tty)


def test_installed_scripts_are_those(t):
    for shell, name in ("bash", "migctl"), ("zsh", "_migctl"):
        with open(os.path.join(os.path.dirname(PROGRAM), "ctl", "completion", name)) as f:
            t.check(f.read() == migd_ctl.run("/x", "completion", shell)[1], shell)


migdtest.main(kvm=False)
