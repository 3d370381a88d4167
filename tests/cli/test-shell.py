#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""migctl shell, typed at on a real terminal, and fed from a pipe."""

import os

import migd_ctl
import migd_fakeqmp
import migd_pty
import migdtest

EVENT = {"event": "STOP", "guest": "web1", "timestamp": {"seconds": 1, "microseconds": 2}}
PROMPT = r"migctl> $"


def server(t, events=(), **answers):
    fake = migd_fakeqmp.FakeQmp(os.path.join(t.dir, "qmp"), {
        "query-guests": [[{"name": "web1", "run-state": "running"}, {"name": "web2", "run-state": "running"}]],
        "query-name": {"name": "n"}, "query-status": {"running": True, "status": "running"},
        **{k.replace("_", "-"): v for k, v in answers.items()}}, events)
    t.cleanup.callback(fake.close)
    return fake


def shell(t, path, *args, **env):
    program = migd_ctl.program("migctl")
    return t.cleanup.enter_context(migd_pty.Terminal(
        [program, "-s", path, *args, "shell"], {"XDG_STATE_HOME": os.path.join(t.dir, "state"), "HOME": t.dir, "NO_COLOR": "1", **env}))


def history(t):
    with open(os.path.join(t.dir, "state", "migctl", "history")) as f:
        return f.read()


def test_commands_and_history(t):
    fake = server(t, migrate_set_parameters={}, query_migrate={}, query_migrate_capabilities=[[]],
                  query_migrate_parameters={"multifd-compression": "none"})
    tty = shell(t, fake.path)
    tty.expect(PROMPT)
    tty.type("name\r")
    tty.expect(r"\r\nn\r\nmigctl> $")
    tty.type("nmae\r")
    tty.expect(r"did you mean 'name'")
    tty.expect(PROMPT)
    tty.type("help status\r")
    tty.expect(r"Usage: migctl \[OPTION\]\.\.\. status")
    tty.expect(PROMPT)
    tty.type('{"execute": "query-name", "id": 7}\r')
    tty.expect(r'"return": \{"name": "n"\}')
    tty.expect(PROMPT)
    tty.type("quit\r")
    tty.expect("exit leaves the shell")
    tty.expect(PROMPT)
    tty.type("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r")  # up to `name`
    tty.expect(r"\r\nn\r\nmigctl> $")
    tty.type(" name -g hidden\r")
    tty.expect(PROMPT)
    tty.type("object-add secret s data=geheim\r")
    tty.expect(PROMPT)
    tty.type("exit\r")
    t.check(tty.wait() == 0, "status 0")
    t.check("quit" not in [r["execute"] for r in fake.requests], "the daemon was not ended")
    kept = history(t)
    t.check("nmae" in kept and "help" in kept and "hidden" not in kept and "geheim" not in kept, kept)
    t.check(os.stat(os.path.join(t.dir, "state", "migctl", "history")).st_mode & 0o077 == 0, "only its owner may read it")
    tty = shell(t, fake.path)
    tty.expect(PROMPT)
    tty.type("\x1b[A" * 7 + "\r")  # the next shell knows them: exit, the secret's and the hidden line are not there
    tty.expect(r"there is no command|\r\nn\r\n|Usage|return")
    tty.expect(PROMPT)
    t.check(tty.leave() == 0, "Ctrl-D leaves, too")


def test_history_is_bounded(t):
    fake = server(t)
    folder = os.path.join(t.dir, "state", "migctl")
    os.makedirs(folder)
    with open(os.path.join(folder, "history"), "w") as f:
        f.write("_HiStOrY_V2_\n" + "".join(f"name\\040number{i}\n" for i in range(3000)))
    tty = shell(t, fake.path)
    tty.expect(PROMPT)
    tty.type("version\r")
    tty.expect(PROMPT)
    tty.type("exit\r")
    tty.wait()
    lines = history(t).splitlines()
    t.check(len(lines) <= 1001 and lines[-1] in ("version", "exit") and "number2999" in history(t), f"{len(lines)} {lines[-3:]}")


def test_tab(t):
    fake = server(t, migrate_set_parameters={}, query_migrate={}, query_migrate_capabilities=[[]],
                  query_migrate_parameters={"multifd-compression": "none"})
    tty = shell(t, fake.path)
    tty.expect(PROMPT)
    tty.type("nam\t\r")
    tty.expect(r"\r\nn\r\nmigctl> $")
    tty.type("-g we\t1 st\tat\t\r")  # up to web; stop and status; status
    tty.expect(r"guest: +running")
    tty.expect(PROMPT)
    tty.type("set multifd-comp\tzs\t\r")
    tty.expect(PROMPT)
    t.check(fake.sent("migrate-set-parameters") == [{"multifd-compression": "zstd"}], fake.requests)
    tty.type("-g \t\t")  # up to web; both
    tty.expect(r"web1 +running\s+web2 +running")
    tty.type("\x15nonsense\t\x15name\r")
    tty.expect(r"\r\nn\r\nmigctl> $")


def test_events_do_not_garble_what_is_typed(t):
    daemon = t.daemon("a")
    tty = shell(t, daemon.qmp_path)
    tty.expect(PROMPT)
    tty.type("qmp query-ver")
    tty.expect("query-ver$")
    t.vmm(daemon, "web9")
    # The event has a line of its own, and what was typed is drawn again behind a prompt.
    tty.expect(r"\r\[\d\d:\d\d:\d\d\] GUEST_ATTACHED web9 .*\r\n(.*\r)?migctl> qmp query-ver")
    tty.type("sion\r")
    tty.expect(r'"package"')
    tty.expect(PROMPT)
    tty.type("use web9\r")
    tty.expect(r"migctl web9> $")
    tty.type("stop\r")
    tty.expect(r"\[\d\d:\d\d:\d\d\] STOP web9\r\n")
    tty.expect(r"migctl web9> $")
    tty.type("status\r")
    tty.expect(r"guest: +paused")


def test_interrupt(t):
    """Ctrl-C ends what waits, or drops the line; not the shell, and not the migration."""
    fake = server(t, query_migrate=[{"status": "active"}])
    tty = shell(t, fake.path)
    tty.expect(PROMPT)
    tty.type("watch\r")
    tty.expect("active")
    tty.type("\x03")
    tty.expect(PROMPT)
    tty.type("not this")
    tty.expect("not this$")
    tty.type("\x03")
    tty.expect(PROMPT)
    tty.type("name\r")
    tty.expect(r"\r\nn\r\nmigctl> $")
    t.check("migrate_cancel" not in [r["execute"] for r in fake.requests], fake.requests)


def test_daemon_comes_and_goes(t):
    path = os.path.join(t.dir, "qmp")
    tty = shell(t, path)
    tty.expect("not connected")
    tty.expect(PROMPT)
    tty.type("name\r")
    tty.expect("is migd running")
    tty.expect(PROMPT)
    server(t, events=[EVENT])
    tty.type("name\r")
    tty.expect(r"STOP web1\r\n")
    tty.expect("migctl> ")


def test_script(t):
    fake = server(t)
    lines = "# a comment\n\nname\n{\"execute\": \"query-name\"}\nqmp nope\nname\n"
    status, out, _ = migd_ctl.run(fake.path, "shell", stdin=lines)
    t.check(status == 1 and out.splitlines()[:2] == ["n", '{"return": {"name": "n"}}'] and out.count("n\n") == 1, f"{status} {out!r}")
    status, out, _ = migd_ctl.run(fake.path, "shell", "--keep-going", stdin=lines)
    t.check(status == 1 and out.splitlines()[-1] == "n", f"{status} {out!r}")
    status, out, err = migd_ctl.run(fake.path, "shell", stdin="name 'not closed\n")
    t.check(status == 2 and "not closed" in err, f"{status} {err!r}")
    status, out, _ = migd_ctl.run(fake.path, "-g", "web1", "-j", "shell", stdin="name\nuse web2\nname\nguests\nexit\nname\n")
    t.check(status == 0 and len(out.splitlines()) == 3, f"{status} {out!r}")
    t.check(fake.sent("query-name")[-2:] == [{"guest": "web1"}, {"guest": "web2"}], fake.requests)
    status, _, err = migd_ctl.run(os.path.join(t.dir, "nobody"), "shell", stdin="name\n")
    t.check(status == 3, f"{status} {err!r}")


migdtest.main(kvm=False)
