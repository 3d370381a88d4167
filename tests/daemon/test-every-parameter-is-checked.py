#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""Every migration parameter of QMP.md 4: default, least, most, beyond, wrong type, null; each read back as it was set."""

import migdtest
from attach_peer import attached

U8, U32, U64 = 2**8, 2**32, 2**64
EVEN_BIGGER = 2**70
SIZE = "uint64"

# name: (default, least, most, type's name, values that the range refuses)
INTEGERS = {
    "announce-initial": (50, 0, 100000, SIZE, [100001]),
    "announce-max": (550, 0, 100000, SIZE, [100001]),
    "announce-rounds": (5, 0, 1000, SIZE, [1001]),
    "announce-step": (100, 1, 10000, SIZE, [0, 10001]),
    "throttle-trigger-threshold": (50, 1, 100, "uint8_t", [0, 101]),
    "cpu-throttle-initial": (20, 1, 99, "uint8_t", [0, 100]),
    "cpu-throttle-increment": (10, 1, 99, "uint8_t", [0, 100]),
    "max-cpu-throttle": (99, 20, 99, "uint8_t", [0, 19, 100]),
    "max-bandwidth": (134217728, 0, U64 - 1, SIZE, []),
    "avail-switchover-bandwidth": (0, 0, U64 - 1, SIZE, []),
    "downtime-limit": (300, 0, 2000000, SIZE, [2000001]),
    "x-checkpoint-delay": (20000, 0, U32 - 1, "uint32_t", []),
    "multifd-channels": (2, 1, 255, "uint8_t", [0]),
    "multifd-zlib-level": (1, 0, 9, "uint8_t", [10]),
    "multifd-zstd-level": (1, 0, 20, "uint8_t", [21]),
    "multifd-qatzip-level": (1, 1, 9, "uint8_t", [0, 10]),
    "xbzrle-cache-size": (67108864, 4096, 2**62, SIZE, [0, 2048, 4095, 4097, 12288]),
    "max-postcopy-bandwidth": (0, 0, U64 - 1, SIZE, []),
    "x-vcpu-dirty-limit-period": (1000, 1, 1000, SIZE, [0, 1001]),
    "vcpu-dirty-limit": (1, 1, U64 - 1, SIZE, [0]),
    "reconnect-timeout": (10000, 0, 86400000, SIZE, [86400001]),
    "reconnect-backoff-max": (2000, 100, 60000, SIZE, [0, 99, 60001]),
    "postcopy-reconnect-timeout": (0, 0, 86400000, SIZE, [86400001]),
}
WIDTH = {"uint8_t": U8, "uint32_t": U32}
BOOLS = {"cpu-throttle-tailslow": [True, False], "direct-io": [False]}
STRINGS = {"tls-hostname": "host.example", "tls-authz": "authz0", "tls-creds": "tls0"}
ENUMS = {"zero-page-detection": ("multifd", ["none", "legacy", "multifd"]),
         "multifd-compression": ("none", ["zlib", "zstd", "none"]), "mode": ("normal", ["normal"])}
LISTS = {"cpr-exec-command": (["/bin/true", "-x", ""], [])}


class Guest:
    def __init__(self, t):
        self.t = t
        self.qmp = t.daemon("a").qmp
        self.peer = attached(t.processes[0], "one")

    def all(self):
        return self.qmp.command("query-migrate-parameters")

    def set(self, name, value):
        before = self.all()
        self.qmp.command("migrate-set-parameters", {name: value})
        return before

    def takes(self, name, value, shown=None):
        before = self.set(name, value)
        want = {**before, name: value if shown is None else shown}
        now = self.all()
        self.t.check(now == want, f"{name} = {value!r}: {({k: v for k, v in now.items() if v != want.get(k)})}")

    def refuses(self, name, value, *texts):
        """Refused, with one of the texts, and nothing has changed."""
        before = self.all()
        try:
            self.qmp.command("migrate-set-parameters", {"announce-rounds": 7, name: value})
        except migdtest.QmpError as e:
            self.t.check(any(text in e.desc for text in texts), f"{name} = {value!r}: {e.desc!r}, not {texts}")
        else:
            raise AssertionError(f"{name} = {value!r} was accepted")
        self.t.check(self.all() == before, f"{name} = {value!r} was refused, and changed something")


def ranged(name):
    return f"Parameter '{name.replace('-', '_')}' expects "


def test_defaults(t):
    g = Guest(t)
    shown = g.all()
    for name, row in INTEGERS.items():
        t.check(shown[name] == row[0], f"{name}: {shown[name]}, not {row[0]}")
    for name in BOOLS:
        t.check(shown[name] is False, f"{name}: {shown[name]}")
    for name in STRINGS:
        t.check(shown[name] == "", f"{name}: {shown[name]}")
    for name, (default, _) in ENUMS.items():
        t.check(shown[name] == default, f"{name}: {shown[name]}")
    t.check(shown["cpr-exec-command"] == [] and "block-bitmap-mapping" not in shown, f"{shown}")


def test_no_parameter_is_missed(t):
    """Every parameter that there is has its row here."""
    g = Guest(t)
    rows = {*INTEGERS, *BOOLS, *STRINGS, *ENUMS, *LISTS, "peer-version"}
    t.check(set(g.all()) <= rows, f"no row for {set(g.all()) - rows}")


def test_integers(t):
    g = Guest(t)
    for name, (default, least, most, _, refused) in INTEGERS.items():
        for value in least, most, default:
            g.takes(name, value)
        for value in refused:
            g.refuses(name, value, ranged(name))


def test_integers_of_a_wrong_kind(t):
    g = Guest(t)
    for name, (_, _, _, kind, _) in INTEGERS.items():
        for value in "5", "1G", True, None, [], {}, 1.5:
            g.refuses(name, value, f"Parameter '{name}' expects uint64")
        g.refuses(name, EVEN_BIGGER, f"'{name}'")
        if kind in WIDTH:
            for value in WIDTH[kind], -1:
                g.refuses(name, value, f"Parameter '{name}' expects {kind}")


def test_negative_sizes_wrap(t):
    """Historical: -1 of 64 bits is a huge number, which a range then refuses, if there is one."""
    g = Guest(t)
    for name, (default, _, most, kind, _) in INTEGERS.items():
        if kind == SIZE and most == U64 - 1:
            g.takes(name, -1, U64 - 1)
            g.takes(name, default)
        elif kind == SIZE:
            g.refuses(name, -1, ranged(name))


def test_max_cpu_throttle_is_at_least_the_initial_one(t):
    g = Guest(t)
    g.takes("max-cpu-throttle", 50)
    g.refuses("cpu-throttle-initial", 51, ranged("max-cpu-throttle"))
    # Together they are checked as they would be.
    g.qmp.command("migrate-set-parameters", {"cpu-throttle-initial": 60, "max-cpu-throttle": 60})
    t.check((g.all()["cpu-throttle-initial"], g.all()["max-cpu-throttle"]) == (60, 60), f"{g.all()}")
    g.refuses("max-cpu-throttle", 59, ranged("max-cpu-throttle"))


def test_bools_and_enums(t):
    g = Guest(t)
    for name, values in BOOLS.items():
        for value in values:
            g.takes(name, value)
        for value in 0, "on", None:
            g.refuses(name, value, f"Invalid parameter type for '{name}', expected: boolean")
    for name, (_, values) in ENUMS.items():
        for value in values:
            g.takes(name, value)
        g.refuses(name, "sideways", f"Parameter '{name}' does not accept value 'sideways'")
        for value in 1, None, True:
            g.refuses(name, value, f"Invalid parameter type for '{name}', expected: string")


def test_codecs_of_hardware(t):
    g = Guest(t)
    for value in "qatzip", "qpl", "uadk":
        g.refuses("multifd-compression", value,
                  f"Parameter 'multifd-compression' does not accept value '{value}': codecs of special hardware")


def test_strings(t):
    g = Guest(t)
    for name, value in STRINGS.items():
        g.takes(name, value)
        g.takes(name, None, shown="")
        g.takes(name, "")
        for wrong in 1, True, [], {}:
            g.refuses(name, wrong, f"Invalid parameter type for '{name}', expected: StrOrNull")


def test_lists(t):
    g = Guest(t)
    for name, values in LISTS.items():
        for value in values:
            g.takes(name, value)
        g.refuses(name, "x", f"Invalid parameter type for '{name}', expected: array")
        g.refuses(name, [1], "Invalid parameter type")


def test_unknown(t):
    g = Guest(t)
    for name in "foo", "max_bandwidth", "Max-bandwidth", "":
        g.refuses(name, 1, f"Parameter '{name}' is unexpected")


migdtest.main(kvm=False)
