#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""migd.conf: all that is wrong is told, with its line, before anything is begun; what is right holds, the command line over it."""

import json
import os
import re
import signal
import subprocess

import migd_process
import migdtest
from migd_process import wait_until

# Each line that is wrong, and what is said of it.
WRONG = (
    ("key = value", "in no section"),
    ("[daemon]", None),
    ("junk", "KEY = VALUE"),
    ("log-level = loud", "there are emerg"),
    ("loglevel = info", "did you mean 'log-level'?"),
    ("state-dir = relative", "no absolute path"),
    ("max-clients = 3", "it belongs to [qmp]"),
    ("allow-exec = perhaps", "yes nor no"),
    ("listen = tcp:127.0.0.1:1 file:/tmp/x", "no address to listen on"),
    ("[demon]", "did you mean [daemon]?"),
    ("log-level = this is not looked at, the section is wrong", None),
    ("[daemon", "a section begins with"),
    ("[qmp] # here", "a section begins with"),
    ("[qmp]", None),
    ("max-clients = 70000", "between 1 and 65536"),
    ("max-message-size = 1Q", "512M"),
    ("max-nesting = ten", "no number"),
    ("max-rate = 5 # a lot", "line of its own"),
    ("max-rate = 99999999999", "at most 4294967295"),
    ('audit = "none', "the quote"),
    ("audit = some", "none, changes, all"),
    ("socket-mode = 0999", "octal"),
    ("socket-group = no-such-group", "no group"),
    ("socket =", "a path is needed"),
    ("read-only-socket = /" + "x" * 200, "can have 107 bytes"),
    ("guest-sockets = /a\x01b", "control character"),
    ("wholly-unknown-thing = 1", "migd.conf(5)"),
    ("[access]", None),
    ("read = root nobody @no-such-group", "no group 'no-such-group'"),
    ("operate = no-such-user", "@no-such-user"),
    ("admin = root,nobody", "not by commas"),
    ("[host]", None),
    ("source-address = 1.2.3", "1.2.3"),
    ("max-outgoing = -1", "no number"),
    ("[attach]", None),
    ("socket-mode = 0066", "octal"),
    ("[metrics]", None),
    ("listen = tcp:0.0.0.0:1", "loopback"),
    ("[arrivals]", None),
    ("start-unit = guest.service", "guest-incoming@.service"),
    ("start-command = /no/such/program", "no program"),
    ("start-timeout = 0", "between 1 and 3600 seconds"),
    ("[workers]", None),
    ("cpus = 3-1", "2-3,6"),
    ("memory-max = 1G", None),
    ("memory-max = 2G", "set in line"),
)


def migd(t, *arguments):
    return subprocess.run([migd_process.program("migd"), *arguments], cwd=t.dir, capture_output=True, text=True, timeout=20,
                          errors="replace")


def write(t, text, name="migd.conf"):
    path = os.path.join(t.dir, name)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as f:
        f.write(text)
    return path


def test_each_error_has_its_line(t):
    path = write(t, "".join(line + "\n" for line, _ in WRONG))
    result = migd(t, "--config", path, "--check-config")
    said = result.stderr.splitlines()
    expected = [(n, word) for n, (_, word) in enumerate(WRONG, 1) if word]
    t.check(result.returncode == 1 and result.stdout == "", f"{result}")
    for (n, word), line in zip(expected, said):
        t.check(line.startswith(f"migd: {path}:{n}: ") and word in line, f"line {n}: {word!r} expected, said is {line!r}")
    t.check(len(said) == len(expected), f"{len(said)} lines for {len(expected)} errors:\n{result.stderr}")
    # Nothing starts with it.
    result = migd(t, "--config", path, "--foreground", "--state-dir", "state")
    t.check(result.returncode == 2 and result.stderr.splitlines() == said, f"{result}")
    t.check(os.listdir(t.dir) == ["migd.conf"], f"something was made: {os.listdir(t.dir)}")


def test_settings_that_do_not_go_together(t):
    for text, line, word in (("[qmp]\nsocket = /x/y\n[attach]\n\nsocket = /x/y\n", 5, "[qmp] socket has the same path"),
                             ("[metrics]\nlisten = unix:/run/migd/qmp\n", 2, "same path"),
                             ("[arrivals]\nstart-unit = g@.service\nstart-command = /bin/true\n", 2, "start-command")):
        path = write(t, text)
        result = migd(t, "--config", path, "--check-config")
        t.check(result.returncode == 1 and f"{path}:{line}: " in result.stderr and word in result.stderr, f"{text}: {result}")
    # What the command line says is judged with the file.
    path = write(t, "[qmp]\nsocket = /x/y\n")
    result = migd(t, "--config", path, "--attach", "/x/y", "--check-config")
    t.check(result.returncode == 1 and "the command line: [attach] socket" in result.stderr, f"{result}")


def test_what_is_no_configuration(t):
    binary = os.path.join(t.dir, "binary")
    with open(binary, "wb") as f:
        f.write(b"[daemon]\nlog-level = in\0fo\n\xff\xfe = 1\nlisten = unix:/\xff\n")
    huge = os.path.join(t.dir, "huge")
    with open(huge, "wb") as f:
        f.truncate(1 << 30)
    fifo = os.path.join(t.dir, "fifo")
    os.mkfifo(fifo)
    many = write(t, "[daemon]\n" + "nonsense\n" * 1000, "many")
    for path, words in ((binary, (":2: ", ":3: ", ":4: ", "UTF-8")), (huge, ("more than 1048576 bytes",)),
                        (t.dir, ("Is a directory",)), (os.path.join(t.dir, "none"), ("No such file", "empty file will do")),
                        (many, ("many:51: ", "and 950 more"))):
        result = migd(t, "--config", path, "--check-config")
        t.check(result.returncode == 1 and all(w in result.stderr for w in words), f"{path}: {result}")
    t.check(migd(t, "--config", fifo, "--check-config").returncode == 0, "a pipe without a writer is empty, and not waited for")
    t.check(migd(t, "--config", "/dev/null", "--check-config").returncode == 0, "an empty file is right")


def test_forms_of_values(t):
    path = write(t, "\r\n ; a comment\r\n [ daemon ] \r\nallow-exec=ON\r\n\tlog-level =\t'debug' \n"
                    '[qmp]\nsocket = "/x y/q"\nmax-message-size = 1 MiB\n[workers]\nmemory-max=2g\n[qmp]\naudit = all')
    result = migd(t, "--config", path, "--print-config")
    t.check(result.returncode == 0, f"{result}")
    for line in ("allow-exec = yes", "log-level = debug", 'socket = "/x y/q"', "max-message-size = 1048576",
                 "memory-max = 2147483648", "audit = all", "max-clients = 1100"):
        t.check(f"\n{line}\n" in result.stdout, f"{line!r} is not in:\n{result.stdout}")
    t.check(f"# {path}:4\nallow-exec = yes" in result.stdout, "where a value comes from")
    # What is printed is read as the same.
    again = migd(t, "--config", write(t, result.stdout, "printed"), "--print-config")
    plain = [re.sub(r"^# .*\n", "", r.stdout, flags=re.M) for r in (result, again)]
    t.check(plain[0] == plain[1], f"{again}")


def daemon(t, text, extra=(), name="a"):
    """A daemon whose file has also its own paths; the command line has none."""
    base = os.path.join(t.dir, name)
    os.makedirs(base, exist_ok=True)
    path = write(t, f"[daemon]\nstate-dir = {base}/state\n[qmp]\nsocket = {base}/qmp\n[attach]\nsocket = {base}/attach\n" + text)
    d = object.__new__(migd_process.Daemon)
    d.name, d.base, d.qmp_path, d.attach_path = name, base, f"{base}/qmp", f"{base}/attach"
    d.state_dir, d._qmp, d.record = f"{base}/state", None, None
    migd_process.Process.__init__(d, t, name, [migd_process.program("migd"), "--config", path, "--foreground", *extra])
    d.wait_ready()
    return d, path


def test_the_file_alone_is_enough(t):
    a, path = daemon(t, "[host]\nmax-outgoing = 3\n[daemon]\nlog-level = debug\n", extra=["--log-level", "notice"])
    info = a.qmp.command("query-config")
    t.check(info["file"] == path and info["log-level"] == "notice", f"{info}")
    t.check(info["config"]["host"]["max-outgoing"] == 3, f"{info}")
    t.check(info["config"]["daemon"]["log-level"] == "notice", "the command line goes over the file")
    t.check({"section": "daemon", "key": "log-level", "origin": "command-line"} in info["settings"], f"{info}")
    t.check({"section": "host", "key": "max-outgoing", "origin": "file", "line": 8} in info["settings"], f"{info}")
    t.check(a.kill(signal.SIGTERM) == 0, "its end")


def reload(t, d, ok=True):
    seen = d.log_text().count("the configuration was read again" if ok else "the configuration stays as it was")
    d.signal(signal.SIGHUP)
    word = "the configuration was read again" if ok else "the configuration stays as it was"
    wait_until(lambda: d.log_text().count(word) > seen, word)


def change(path, old, new):
    with open(path) as f:
        text = f.read()
    assert old in text
    with open(path, "w") as f:
        f.write(text.replace(old, new))


def test_reload(t):
    a, path = daemon(t, "[daemon]\nlog-level = info\n[host]\nmax-outgoing = 3\nmax-bandwidth = 1M\n[qmp]\nsocket-mode = 0600\n")
    change(path, "max-outgoing = 3", "max-outgoing = 4")
    change(path, "max-bandwidth = 1M\n", "")
    change(path, "socket-mode = 0600", "socket-mode = 0660")
    reload(t, a)
    info = a.qmp.command("query-config")
    t.check(info["config"]["host"]["max-outgoing"] == 4 and info["config"]["host"]["max-bandwidth"] == 0, f"{info}")
    t.check(info["waiting"] == ["qmp.socket-mode"] and info["config"]["qmp"]["socket-mode"] == "0600", f"{info}")
    t.check("next start on: [qmp] socket-mode" in a.log_text(), "what waits for a restart is named")
    # One that is wrong: nothing of it is taken, and the log and the command say why.
    change(path, "max-outgoing = 4", "max-outgoing = four")
    change(path, "log-level = info", "log-level = debug")
    reload(t, a, ok=False)
    t.check(re.search(r"migd\.conf:10: \[host\] max-outgoing: 'four'", a.log_text()), "the log names the line")
    t.check(a.qmp.command("query-config") == info, "all is as it was")
    try:
        a.qmp.command("reload-config")
        raise AssertionError("a wrong file was taken")
    except migdtest.QmpError as e:
        t.check("migd.conf:10: [host] max-outgoing: 'four'" in e.desc, e.desc)
    change(path, "max-outgoing = four", "max-outgoing = 5")
    info = a.qmp.command("reload-config")
    t.check(info["config"]["host"]["max-outgoing"] == 5 and info["log-level"] == "debug", f"{info}")
    os.unlink(path)
    reload(t, a, ok=False)
    t.check(a.qmp.command("query-config")["config"] == info["config"], "a file that is gone changes nothing")


def test_log_level(t):
    a, path = daemon(t, "[daemon]\nlog-level = info\n")
    a.qmp.command("set-log-level", {"level": "err"})
    info = a.qmp.command("query-config")
    t.check(info["log-level"] == "err" and info["config"]["daemon"]["log-level"] == "info", f"{info}")
    try:
        a.qmp.command("set-log-level", {"level": "loud"})
        raise AssertionError("an unknown level was taken")
    except migdtest.QmpError as e:
        t.check("'loud'" in e.desc and "warning" in e.desc, e.desc)
    change(path, "log-level = info", "log-level = notice")
    t.check(a.qmp.command("reload-config")["log-level"] == "notice", "the file's holds again")


def test_qmp_goes_over_the_file(t):
    a, path = daemon(t, "[host]\nmax-outgoing = 3\nmax-incoming = 3\n")
    a.qmp.command("host-set-parameters", {"max-outgoing": 0})
    t.check(a.qmp.command("query-host-parameters")["max-outgoing"] == 0, "what QMP sets holds, also if it is a default")
    info = a.qmp.command("query-config")
    t.check({"section": "host", "key": "max-outgoing", "origin": "qmp"} in info["settings"], f"{info}")
    change(path, "max-outgoing = 3", "max-outgoing = 4")
    change(path, "max-incoming = 3", "max-incoming = 5")
    a.qmp.command("reload-config")
    p = a.qmp.command("query-host-parameters")
    t.check((p["max-outgoing"], p["max-incoming"]) == (0, 5), f"{p}")
    # It outlives the daemon, and can be taken back.
    a.kill(signal.SIGTERM)
    with open(path) as f:
        a, path = daemon(t, f.read().partition("[host]\n")[2].join(("[host]\n", "")))
    p = a.qmp.command("query-host-parameters")
    t.check((p["max-outgoing"], p["max-incoming"]) == (0, 5), f"{p}")
    try:
        a.qmp.command("host-reset-parameters", {"parameters": ["max-outgoing", "nonsense"]})
        raise AssertionError("an unknown parameter was reset")
    except migdtest.QmpError as e:
        t.check("'nonsense'" in e.desc, e.desc)
    t.check(a.qmp.command("query-host-parameters") == p, "all or nothing")
    a.qmp.command("host-reset-parameters", {"parameters": ["max-outgoing"]})
    t.check(a.qmp.command("query-host-parameters")["max-outgoing"] == 4, "the file's holds again")
    a.qmp.command("host-set-parameters", {"max-outgoing": 7, "max-incoming": 7})
    a.qmp.command("host-reset-parameters")
    p = a.qmp.command("query-host-parameters")
    t.check((p["max-outgoing"], p["max-incoming"]) == (4, 5), f"{p}")


def test_what_former_daemons_kept(t):
    """They kept all parameters: what is a default in there goes not over the file."""
    settings = os.path.join(t.dir, "a", "state", "settings")
    os.makedirs(settings)
    with open(os.path.join(settings, "host"), "w") as f:
        json.dump({"version": 1, "parameters": {
            "max-bandwidth": 123456, "max-outgoing": 0, "max-incoming": 0, "source-address": "", "source-interface": "",
            "tls-creds": "", "tls-creds-incoming": "", "tls-required": False}}, f)
    a, _ = daemon(t, "[host]\nmax-bandwidth = 1M\nmax-outgoing = 3\n")
    p = a.qmp.command("query-host-parameters")
    t.check((p["max-bandwidth"], p["max-outgoing"]) == (123456, 3), f"{p}")


migdtest.main(kvm=False)
