#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""migctl doctor: each check, made to fail once, and what it advises."""

import json
import os
import shutil
import socket
import subprocess

import migd_certs
import migd_ctl
import migdtest

NOBODY = 65534


def examine(t, *args, path="/nonexistent", **options):
    """(exit status, {check: [(result, found, advice)]})."""
    env = {**os.environ, "MIGD_SOCKET": path}
    done = subprocess.run([migd_ctl.program("migctl"), "--json", "doctor", *args], capture_output=True, text=True, env=env,
                          timeout=120, **options)
    checks = {}
    for f in json.loads(done.stdout.splitlines()[0]):
        t.check(f["result"] in ("ok", "warning", "problem") and f["group"] and f["found"], f"{f}")
        checks.setdefault(f["check"], []).append((f["result"], f["found"], f.get("advice", "")))
    problems = [f for found in checks.values() for f in found if f[0] == "problem"]
    t.check(done.returncode == (1 if problems else 0), f"status {done.returncode} with {problems}")
    return done.returncode, checks


def has(t, checks, name, result, *words):
    found = checks.get(name, [])
    t.check(any(r == result and all(w in text + " " + advice for w in words) for r, text, advice in found),
            f"{name} is not {result} with {words}: {found}")


def test_it_lacks_nothing(t):
    """All that a host has is looked at."""
    _, checks = examine(t)
    for name in ("kvm", "postcopy", "snapshots", "free-memory", "memfd", "hugepages", "memlock", "clock", "clocksource", "kernel",
                 "module-tls", "module-vsock", "cpus", "cgroups", "daemon", "state-dir"):
        t.check(name in checks, f"{name} is missing: {sorted(checks)}")
    has(t, checks, "memfd", "ok")
    status, out, _ = migd_ctl.run("/nonexistent", "doctor")
    t.check(status == 1 and "problems\n" in out and "=> start migd" in out and "\x1b" not in out, out)


def test_a_daemon_that_is_fine(t):
    daemon = t.daemon("a")
    _, checks = examine(t, "--state-dir", daemon.state_dir, path=daemon.qmp_path)
    has(t, checks, "daemon", "ok", "it answers")
    has(t, checks, "guests", "ok", "0 guests")
    has(t, checks, "socket", "ok", "mode")
    has(t, checks, "state-dir", "ok", "free")
    os.chmod(daemon.qmp_path, 0o666)
    _, checks = examine(t, path=daemon.qmp_path)
    has(t, checks, "socket", "problem", "everybody")


def test_no_daemon(t):
    status, checks = examine(t, path=os.path.join(t.dir, "nobody"))
    t.check(status == 1, "a problem")
    has(t, checks, "daemon", "problem", "nobody", "start migd")
    left = os.path.join(t.dir, "left")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(left)
    _, checks = examine(t, path=left)
    has(t, checks, "daemon", "problem", "left over")
    plain = os.path.join(t.dir, "plain")
    open(plain, "w").close()
    _, checks = examine(t, path=plain)
    has(t, checks, "socket", "problem", "no socket")


def test_state_dir(t):
    folder = os.path.join(t.dir, "state")
    _, checks = examine(t, "--state-dir", folder)
    has(t, checks, "state-dir", "warning", "No such file")
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    _, checks = examine(t, "--state-dir", folder)
    has(t, checks, "state-dir", "problem", "0777")


def test_as_somebody_else(t):
    """What is closed to others is told to them."""
    migdtest.need_root()
    if not os.path.exists("/dev/kvm") or os.stat("/dev/kvm").st_mode & 0o006:
        raise migdtest.Skip("/dev/kvm is open to everybody, or not there")
    daemon = t.daemon("a")
    for folder in t.dir, os.path.dirname(daemon.qmp_path):
        os.chmod(folder, 0o755)
    os.chmod(daemon.qmp_path, 0o600)
    _, checks = examine(t, path=daemon.qmp_path, user=NOBODY, group=NOBODY, extra_groups=[])
    has(t, checks, "kvm", "problem", "Permission denied", "group")
    has(t, checks, "daemon", "problem", "Permission denied", "group and mode")


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_peer(t):
    listener = t.cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
    for uri, result, words in (
            (f"tcp:127.0.0.1:{listener.getsockname()[1]}", "ok", ["can be reached"]),
            (f"tcp:127.0.0.1:{closed_port()}", "problem", ["refused", "migctl incoming"]),
            ("tcp:no-such-host.invalid:4444", "problem", ["cannot be resolved", "/etc/resolv.conf"]),
            ("tcp:nowhere", "problem", ["tcp:HOST:PORT"]), ("tls:h:1", "problem", ["tcp:HOST:PORT"]),
            (f"unix:{t.dir}/none", "problem", ["No such file"])):
        _, checks = examine(t, "--peer", uri)
        has(t, checks, "peer", result, *words)


def test_peer_that_drops_and_no_route(t):
    """In a network namespace: packets to the other side are lost, or there is no way there."""
    migdtest.need_root()
    space = t.netns_pair()[0]
    inside = ["ip", "netns", "exec", space, migd_ctl.program("migctl"), "--json", "doctor", "--peer"]

    def found(uri):
        done = subprocess.run([*inside, uri], capture_output=True, text=True, timeout=120)
        return {"peer": [(f["result"], f["found"], f.get("advice", "")) for f in json.loads(done.stdout.splitlines()[0])
                         if f["check"] == "peer"]}

    has(t, found("tcp:203.0.113.1:4444"), "peer", "problem", "ip route")
    subprocess.run(["ip", "-n", space, "route", "add", "203.0.113.0/24", "dev", "lo"], check=True)
    subprocess.run(["ip", "-n", space, "link", "set", "lo", "up"], check=True)
    has(t, found("tcp:203.0.113.1:4444"), "peer", "problem", "no answer in time", "firewall")


def tls(t, folder):
    return examine(t, "--tls-dir", folder)[1]


def test_tls_that_is_fine(t):
    ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
    folder = os.path.join(t.dir, "tls")
    ca.server(folder, names=["IP:127.0.0.1"])
    ca.client(folder)
    ca.issue(folder, "server", "/CN=other", number=1)
    checks = tls(t, folder)
    for name in "ca-cert.pem", "server-cert.pem", "client-cert.pem", "server-key.pem", "client-key.pem", "server-cert-1.pem":
        has(t, checks, name, "ok")
        t.check(all(f[0] == "ok" for f in checks[name]), f"{name}: {checks[name]}")
    ca.revoke(folder, os.path.join(folder, "client-cert.pem"))
    checks = tls(t, folder)
    has(t, checks, "client-cert.pem", "problem", "revoked")
    has(t, checks, "server-cert.pem", "ok", "signed")


def test_tls_that_is_not(t):
    ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
    folder = os.path.join(t.dir, "tls")
    path = {name: os.path.join(folder, name) for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem")}
    has(t, tls(t, folder), "tls-dir", "problem", "No such file")
    ca.server(folder, names=["IP:127.0.0.1"])
    os.chmod(path["server-key.pem"], 0o644)
    has(t, tls(t, folder), "server-key.pem", "problem", "0644", "chmod 600")
    migd_certs.new_key(path["server-key.pem"])
    has(t, tls(t, folder), "server-key.pem", "problem", "does not belong")
    os.unlink(path["server-key.pem"])
    has(t, tls(t, folder), "server-key.pem", "problem", "both files are needed")
    ca.server(folder, starts=-10, days=5)
    has(t, tls(t, folder), "server-cert.pem", "problem", "expired")
    ca.server(folder, starts=5, days=5)
    has(t, tls(t, folder), "server-cert.pem", "problem", "not valid yet")
    ca.server(folder, days=7)
    has(t, tls(t, folder), "server-cert.pem", "warning", "expires in")
    ca.issue(folder, "server", "/CN=wrong", purpose="clientAuth")
    has(t, tls(t, folder), "server-cert.pem", "problem", "does not hold")
    migd_certs.Authority(os.path.join(t.dir, "other")).trust(folder)
    has(t, tls(t, folder), "server-cert.pem", "problem", "does not hold")
    with open(path["server-cert.pem"], "w") as f:
        f.write("nonsense\n")
    has(t, tls(t, folder), "server-cert.pem", "problem", "no certificate in it")
    os.unlink(path["ca-cert.pem"])
    has(t, tls(t, folder), "ca-cert.pem", "problem", "No such file")
    shutil.rmtree(folder)
    ca.trust(folder)
    has(t, tls(t, folder), "identity", "warning", "server-cert.pem")


def test_tls_keys_and_unreadable_files(t):
    folder = migd_certs.psk(os.path.join(t.dir, "psk"), {"qemu": "00112233"})
    has(t, tls(t, folder), "keys.psk", "ok")
    os.chmod(os.path.join(folder, "keys.psk"), 0o640)
    has(t, tls(t, folder), "keys.psk", "problem", "0640")
    migdtest.need_root()
    os.chmod(os.path.join(folder, "keys.psk"), 0o600)
    for place in t.dir, folder:
        os.chmod(place, 0o755)
    _, checks = examine(t, "--tls-dir", folder, user=NOBODY, group=NOBODY, extra_groups=[])
    has(t, checks, "keys.psk", "problem", "Permission denied")


def test_what_the_daemon_says_of_its_credentials(t):
    ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
    folder = os.path.join(t.dir, "tls")
    ca.server(folder)
    daemon = t.daemon("a")
    status, _, err = migd_ctl.run(daemon.qmp_path, "object-add", "tls-creds-x509", "tls0", f"dir={folder}", "endpoint=server")
    t.check(status == 0, err)
    _, checks = examine(t, path=daemon.qmp_path)
    has(t, checks, "credentials", "ok", "tls0")
    os.unlink(os.path.join(folder, "server-key.pem"))
    _, checks = examine(t, path=daemon.qmp_path)
    has(t, checks, "credentials", "problem", "tls0", "server-key.pem")
    status, out, err = migd_ctl.run(daemon.qmp_path, "credentials")
    t.check(status == 1 and "server-key.pem" in out and "tls0" in err, f"{status} {out!r} {err!r}")


migdtest.main(kvm=False)
