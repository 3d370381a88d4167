#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Metrics over HTTP: both formats, what documents and the dashboard say of them, and clients that mean no good."""

import json
import os
import re
import signal
import socket
import subprocess

import migd_openmetrics as om
import migd_process
import migdtest
from migd_process import wait_until

CONNECTIONS_MAX = 8


def serving(t, listen="tcp:127.0.0.1:0", name="a"):
    """A daemon, its configuration file, and where its metrics are."""
    path = os.path.join(t.dir, name + ".conf")
    with open(path, "w") as f:
        f.write(f"[metrics]\nlisten = {listen}\n")
    d = t.daemon(name, extra=("--config", path))
    return d, path, d.qmp.command("query-config")["metrics-address"]


def test_formats(t):
    d, _, address = serving(t)
    t.check(address in d.log_text() and not address.endswith(":0"), "the port it got is told")
    families = om.scrape(address)
    t.check(len(families) > 30 and families["migd_guests"].value(role="running") == 0, "the families")
    t.check(families["process_open_fds"].value() >= 5 and families["process_resident_memory_bytes"].value() > 1e6, "of a process")
    for accept in ("text/plain", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"):
        status, kind, text = om.get(address, accept=accept)
        t.check(status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8", f"{accept}: {kind}")
        t.check("# EOF" not in text and "# TYPE migd_qmp_commands_total counter" in text and
                "# TYPE migd_build_info gauge" in text, f"{accept}: {text[:300]}")
    # What Prometheus itself sends.
    t.check("openmetrics" in om.get(address, accept="application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5")[1], "both")
    t.check(om.get(address, "/healthz")[::2] == (200, "ok\n"), "healthz")
    t.check(om.get(address, "/")[0] == 404 and om.get(address, "/metrics?a=b")[0] == 200, "paths")
    t.check(om.get(address, method="POST")[0] == 405, "only GET")


def test_commands_are_counted(t):
    d, _, address = serving(t)
    before = om.scrape(address)
    d.qmp.command("query-guests")
    d.qmp.command("host-set-parameters", {"max-outgoing": 1})
    for command, arguments in (("host-set-parameters", {"nonsense": 1}), ("no-such-command", None)):
        try:
            d.qmp.command(command, arguments)
            raise AssertionError(f"{command} was accepted")
        except migdtest.QmpError:
            pass
    after = om.scrape(address)
    om.check_monotonic(before, after)

    def more(cls, outcome):
        return (after["migd_qmp_commands"].value("_total", **{"class": cls, "outcome": outcome})
                - before["migd_qmp_commands"].value("_total", **{"class": cls, "outcome": outcome}))
    t.check((more("read", "returned"), more("admin", "returned"), more("admin", "error"), more("none", "error")) == (1, 1, 1, 1),
            "each in its class")
    t.check(after["migd_qmp_clients"].value() == 1, "this one")
    t.check(after["migd_host_migrations_limit"].value(direction="outgoing") == 1, "the limit")
    wait_until(lambda: om.scrape(address)["migd_event_loop_lag_seconds"].value("_count") >= 2, "the loop is watched")


def test_addresses(t):
    path = os.path.join(t.dir, "metrics")
    d, conf, address = serving(t, f"unix:{path}")
    t.check(address == f"unix:{path}" and om.scrape(address), "a Unix socket")

    def listen(value):
        with open(conf, "w") as f:
            f.write(f"[metrics]\nlisten = {value}\n")
        return d.qmp.command("reload-config")["metrics-address"]
    tcp = listen("tcp:[::1]:0") if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") else listen("tcp:localhost:0")
    t.check(tcp and om.scrape(tcp) and not os.path.exists(path), "it moves, and removes what it made")
    t.check(listen("") == "", "it ends")
    try:
        om.get(tcp)
        raise AssertionError("it is still served")
    except OSError:
        pass
    address = listen("tcp:127.0.0.1:0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        uri = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
        t.check(listen(uri) == "" and "metrics are served nowhere" in d.log_text(), "a port that is taken is told")
        with open(os.path.join(t.dir, "b.conf"), "w") as f:
            f.write(f"[metrics]\nlisten = {uri}\n")
        other = t.daemon("b", extra=("--config", f.name), ready=False)
        t.check(other.wait_exit() == 1 and "[metrics] listen: cannot listen" in other.log_text(), other.log_text())
    t.check(d.kill(signal.SIGTERM) == 0, "its end")


def connect(address):
    s = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 20)
    s.settimeout(20 * migd_process.SLOW)
    return s


def test_hostile_clients(t):
    d, _, address = serving(t)
    idle = d.fds()
    # Nonsense, too much, and half of something, which ends.
    for data in (b"\r\n\r\n", b"\0\xff" * 100 + b"\n\n", b"GET /metrics", b"GET " + b"/" * 5000 + b" HTTP/1.1\r\n\r\n",
                 b"GET /metrics HTTP/1.1\r\nAccept: " + b"x" * 20000 + b"\r\n\r\n", b"X" * 100000):
        with connect(address) as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                answer = s.recv(100)
            except OSError:
                answer = b""  # it was closed on what it did not read
        t.check(answer == b"" or re.match(rb"HTTP/1.1 4\d\d ", answer), f"{data[:20]}: {answer}")
        t.check(om.get(address, "/healthz")[0] == 200, f"served after {data[:20]}")
    # Those that say nothing take no more than their number, and all goes on beside them; in the end they are closed.
    silent = [connect(address) for _ in range(3 * CONNECTIONS_MAX)]
    wait_until(lambda: len(d.fds()) >= len(idle) + CONNECTIONS_MAX, "they are accepted")
    t.check(len(d.fds()) <= len(idle) + CONNECTIONS_MAX, f"{len(d.fds())} descriptors, of {len(idle)}")
    t.check(d.qmp.command("query-guests") == [], "QMP goes on")
    for s in silent[:CONNECTIONS_MAX]:
        t.check(s.recv(1) == b"", "its time is over")
    for s in silent:
        s.close()
    wait_until(lambda: om.get(address, "/healthz")[0] == 200, "there is room again")
    wait_until(lambda: len(d.fds()) <= len(idle), "nothing leaks")


def known_names(address):
    """Of all samples that there can be."""
    return {name + suffix: family for name, family in om.scrape(address).items() for suffix in om.SUFFIXES[family.kind]}


def test_documents_and_dashboard(t):
    _, _, address = serving(t)
    families = om.scrape(address)
    with open(os.path.join(migd_process.SOURCE_DIR, "docs/metrics.md"), encoding="utf-8") as f:
        rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", f.read(), re.M))
    t.check(rows == {n: f.kind for n, f in families.items()},
            f"docs/metrics.md differs: {set(rows.items()) ^ {(n, f.kind) for n, f in families.items()}}")
    with open(os.path.join(migd_process.SOURCE_DIR, "docs/grafana/migd.json"), encoding="utf-8") as f:
        dashboard = json.load(f)
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    expressions += [v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    t.check(len(expressions) > 15, "there are expressions")
    known = known_names(address)
    for expression in expressions:
        names = re.findall(r"\b(?:migd|process)_[a-z_]+", expression)
        t.check(names and all(n in known for n in names), f"{expression}: {[n for n in names if n not in known]} do not exist")
        for name in names:
            if known[name].kind == "counter" and not expression.startswith("label_values("):
                t.check(re.search(rf"(rate|increase)\({name}", expression), f"{expression}: a counter without rate()")


def test_promtool(t):
    promtool = os.path.join(migd_process.SOURCE_DIR, "build", "promtool", "promtool")
    if not os.access(promtool, os.X_OK):
        raise migdtest.Skip(f"promtool is not there: scripts/fetch-promtool unpacks it to {promtool}")
    _, _, address = serving(t)
    text = om.get(address, accept="text/plain")[2]
    result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    t.check(result.returncode == 0 and result.stderr + result.stdout == "", f"{result}")


migdtest.main(kvm=False)
