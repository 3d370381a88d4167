# SPDX-License-Identifier: Apache-2.0
"""A strict reader of OpenMetrics 1.0 text: what the specification forbids, in what migd writes, is an AssertionError."""

import http.client
import re
import socket

SUFFIXES = {"gauge": {""}, "counter": {"_total"}, "info": {"_info"}, "histogram": {"_bucket", "_sum", "_count"}}
NAME = r"[a-z][a-z0-9_]*"
SAMPLE = re.compile(r"(" + NAME + r")(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r"(" + NAME + r')="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)')


class Connection(http.client.HTTPConnection):
    """To tcp:HOST:PORT or unix:PATH."""

    def __init__(self, address, timeout=20):
        self.address = address
        super().__init__("localhost", timeout=timeout)

    def connect(self):
        kind, _, rest = self.address.partition(":")
        if kind == "unix":
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(rest)
        else:
            host, _, port = rest.rpartition(":")
            self.sock = socket.create_connection((host.strip("[]"), int(port)), self.timeout)


def get(address, path="/metrics", accept=None, method="GET"):
    """(status, content type, text)"""
    c = Connection(address)
    c.request(method, path, headers={"Accept": accept} if accept else {})
    r = c.getresponse()
    answer = r.status, r.getheader("Content-Type"), r.read().decode()
    c.close()
    return answer


def unescape(text):
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)


def parse_labels(text):
    labels, at = {}, 0
    while text and at < len(text):
        m = LABEL.match(text, at)
        assert m, f"labels {text!r} from {at}"
        assert m[1] not in labels, f"label {m[1]} twice in {text!r}"
        labels[m[1]] = unescape(m[2])
        at = m.end()
    return labels


class Family:
    def __init__(self, name, kind):
        self.name, self.kind, self.unit, self.help = name, kind, None, None
        self.samples = {}  # (suffix, labels) -> value

    def value(self, suffix="", **labels):
        return self.samples[suffix, frozenset(labels.items())]

    def add(self, suffix, labels, value):
        key = suffix, frozenset(labels.items())
        assert suffix in SUFFIXES[self.kind], f"{self.name}{suffix} in a {self.kind}"
        assert key not in self.samples, f"{self.name}{suffix} {labels} is there twice"
        assert ("le" in labels) == (suffix == "_bucket"), f"{self.name}{suffix} {labels}"
        assert self.kind not in ("counter", "histogram") or value >= 0, f"{self.name}: {value}"
        assert self.kind != "info" or value == 1, f"{self.name}: {value}"
        self.samples[key] = value

    def check(self):
        assert self.help, f"{self.name} has no help"
        assert self.unit is None or self.name.endswith("_" + self.unit), f"{self.name} has the unit {self.unit}"
        for word in ("milli", "micro", "kilo", "mega", "percent", "minutes", "hours", "mbps"):
            assert word not in self.name, f"{self.name} is in no base unit"
        if self.kind == "histogram":
            self.check_histogram()

    def check_histogram(self):
        series = {}
        for (suffix, labels), value in self.samples.items():
            rest = frozenset((k, v) for k, v in labels if k != "le")
            series.setdefault(rest, {}).setdefault(suffix, []).append((dict(labels).get("le"), value))
        for labels, parts in series.items():
            buckets = parts["_bucket"]
            bounds = [float(le) for le, _ in buckets]
            assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), f"{self.name}: bounds {bounds}"
            counts = [v for _, v in buckets]
            assert counts == sorted(counts), f"{self.name}: counts {counts}"
            assert parts["_count"][0][1] == counts[-1] and "_sum" in parts, f"{self.name} {labels}"


def parse(text):
    """{name: Family}"""
    assert text.endswith("# EOF\n") and text.count("# EOF") == 1, "the end"
    families, now = {}, None
    for line in text.splitlines()[:-1]:
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            if word == "TYPE":
                assert name not in families, f"{name} is there twice"
                now = families[name] = Family(name, rest)
                assert rest in SUFFIXES, f"{name} is a {rest}"
            else:
                assert now and name == now.name and word in ("UNIT", "HELP"), line
                assert not now.samples, f"{line} comes behind samples"
                setattr(now, word.lower(), rest)
            continue
        m = SAMPLE.fullmatch(line)
        assert m and now and m[1].startswith(now.name), f"{line!r} is no sample of {now and now.name}"
        now.add(m[1][len(now.name):], parse_labels(m[2]), float(m[3]))
    for family in families.values():
        family.check()
    return families


def scrape(address):
    status, kind, text = get(address)
    assert status == 200 and kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", f"{status} {kind}"
    return parse(text)


def check_monotonic(before, after):
    """No counter of a series that is in both went back."""
    for name, family in before.items():
        if family.kind not in ("counter", "histogram"):
            continue
        for key, value in family.samples.items():
            if key in after[name].samples:
                assert after[name].samples[key] >= value, f"{name} {key} went from {value} to {after[name].samples[key]}"
