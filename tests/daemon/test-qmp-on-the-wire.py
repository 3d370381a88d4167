#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""QMP byte for byte on a real migd: framing, errors' texts, negotiation, order, descriptors. docs/qmp-compatibility.md"""

import json
import os
import socket
import time

import migdtest
from migd_process import wait_until

NEGOTIATE = b'{"execute": "qmp_capabilities"}'
OOB = b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}'
END = "no more is said"


def error(desc, cls="GenericError", **members):
    return {"error": {"class": cls, "desc": desc}, **members}


def parse_error(what):
    return error(f"JSON parse error, {what}")


class Raw:
    """A client that sends bytes and reads lines."""

    def __init__(self, daemon, say=NEGOTIATE):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(daemon.qmp_path)
        self.buffer = b""
        self.greeting = self.line()
        if say:
            self.expect(say, {"return": {}})

    def line(self):
        while b"\n" not in self.buffer:
            data = self.sock.recv(1 << 20)
            assert data, f"closed by the server; last was {self.buffer!r}"
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r") and all(0x20 <= c < 0x7F for c in line[:-1]), f"a line: {line!r}"
        return line[:-1]

    def messages(self):
        """All up to the answer to a command that nobody else sends."""
        self.sock.sendall(b'{"execute": "query-uuid", "arguments": {"guest": "' + END.encode() + b'"}, "id": "' +
                          END.encode() + b'"}')
        found = []
        while not found or found[-1].get("id") != END:
            found.append(json.loads(self.line()))
        return found[:-1]

    def expect(self, data, *wanted):
        self.sock.sendall(data)
        for want in wanted:
            line = self.line()
            assert json.loads(line) == want, f"{data[:200]!r}: {line!r} instead of {want}"

    def expect_all(self, data, *wanted):
        """These answers, and no more."""
        self.sock.sendall(data)
        found = self.messages()
        assert found == list(wanted), f"{data[:200]!r}: {found} instead of {list(wanted)}"


def test_greeting_and_negotiation(t):
    raw = Raw(t.daemon("a"), say=None)
    t.check(raw.greeting.startswith(b'{"QMP": {"version": {"qemu": {"major": '), f"compact, with spaces: {raw.greeting}")
    t.check(json.loads(raw.greeting)["QMP"]["capabilities"] == ["oob"], "what is offered")
    expecting = "Expecting capabilities negotiation with 'qmp_capabilities'"
    raw.expect(b'{"execute": "query-version", "id": [null]}', error(expecting, "CommandNotFound", id=[None]))
    raw.expect(b'{"exec-oob": "query-yank", "id": 1}', error("QMP input member 'exec-oob' is unexpected", id=1))
    raw.expect(b'{"execute": "qmp_capabilities", "arguments": {"enable": ["foo"]}}',
               error("Parameter 'null' does not accept value 'foo'"))
    raw.expect(NEGOTIATE, {"return": {}})
    raw.expect(NEGOTIATE, error("Capabilities negotiation is already complete, command ignored", "CommandNotFound"))
    # Each session for itself.
    Raw(t.processes[0], say=None).expect(b'{"execute": "stop"}', error(expecting, "CommandNotFound"))


def test_what_cannot_be_read(t):
    raw = Raw(t.daemon("a"))
    for data, what in ((b"[1,]", "expecting value"), (b"{]", "expecting value"),
                       (b'{"a" 1}', "missing : in object pair"), (b'{"a": 1 "b": 2}', "expected separator in dict"),
                       (b"[1 2]", "expected separator in list"), (b'{"a": 1, "a": 2}', "duplicate key"),
                       (b'{"a": {"b": [{"c": 1, "c": 1}]}}', "duplicate key"),
                       (b"{1: 2}", "key is not a string in object"), (rb'["\x"]', "invalid escape sequence in string"),
                       (b'["\xc3("]', "invalid UTF-8 sequence in string"), (b'["\xed\xa0\x80"]', "invalid UTF-8 sequence in string"),
                       (b'["\xc1\x81"]', "invalid UTF-8 sequence in string"), (b"nonsense ", "invalid keyword 'nonsense'")):
        raw.expect_all(data, parse_error(what))
    raw.expect_all(rb'["\ud800"]', parse_error(r"\ud800 is not a valid Unicode character"))
    # What a reset leaves behind is skipped up to the next thing that may begin a value; the byte itself is told.
    raw.expect_all(b'{"execute": \xff', parse_error("stray '\ufffd'"))
    raw.expect_all(b"\xff", parse_error("stray '\ufffd'"))
    raw.expect_all(b"\x01", parse_error("stray '\x01'"))
    raw.expect_all(b'\xff garbage + "more" {"execute": "query-jobs"}', parse_error("stray '\ufffd'"), {"return": []})
    raw.expect_all(b"  \r\n\t \n\n")


def test_limits(t):
    raw = Raw(t.daemon("a"))
    for depth, wanted in ((1024, error("QMP input must be a JSON object")), (1025, error("JSON nesting depth limit exceeded"))):
        raw.sock.sendall(b"[" * depth + b"]" * depth)
        t.check(raw.messages()[0] == wanted, f"nested {depth} deep")
    raw.expect_all(b'{"execute": "query-jobs", "id": "' + b"x" * 1000000 + b'"}', {"return": [], "id": "x" * 1000000})


def test_spelling(t):
    raw = Raw(t.daemon("a"))
    raw.expect_all(b"{'execute':'query-jobs','id':'it\\'s'}{\"execute\":\n\"query-jobs\"}", {"return": [], "id": "it's"},
                   {"return": []})
    for sent, printed in ((b"1.5e10", b"15000000000"), (b"0.1", b"0.10000000000000001"), (b"18446744073709551615",) * 2,
                          (b"-9223372036854775808",) * 2, (b"null", b"null"), (b"[true,false]", b"[true, false]"),
                          (rb'"\u0000\u00e9\ud83d\ude00/\"\\\b\f\n\r\t\u007f"', rb'"\u0000\u00E9\uD83D\uDE00/\"\\\b\f\n\r\t\u007F"'),
                          (b'"\xc3\xa9\xc0\x80"', rb'"\u00E9\u0000"'), (b'{"z": {}, "a": []}', b'{"z": {}, "a": []}')):
        raw.sock.sendall(b'{"execute": "query-jobs", "id": ' + sent + b"}")
        line = raw.line()
        t.check(line == b'{"return": [], "id": ' + printed + b"}", f"{sent}: {line}")
    # One byte at a time.
    for byte in b'{"execute": "query-jobs", "id": "\xe2\x82\xac"}':
        raw.sock.sendall(bytes([byte]))
    t.check(raw.line() == rb'{"return": [], "id": "\u20AC"}', "in pieces")


def test_requests(t):
    raw = Raw(t.daemon("a"), say=OOB)
    raw.expect_all(b"[] 1 \"x\"\n", *[error("QMP input must be a JSON object")] * 3)
    for members, desc in ((b'"execute": 1', "QMP input member 'execute' must be a string"),
                          (b'"exec-oob": {}', "QMP input member 'exec-oob' must be a string"),
                          (b'"execute": "stop", "exec-oob": "stop"', "QMP input member 'execute' clashes with 'exec-oob'"),
                          (b'"exec-oob": "stop", "execute": "stop"', "QMP input member 'execute' clashes with 'exec-oob'"),
                          (b'"execute": "stop", "arguments": []', "QMP input member 'arguments' must be an object"),
                          (b'"execute": "stop", "foo": 1', "QMP input member 'foo' is unexpected"),
                          (b'"arguments": {}', "QMP input lacks member 'execute'"),
                          (b'"exec-oob": "query-name"', "The command query-name does not support OOB")):
        raw.expect_all(b"{" + members + b', "id": {"a": 1}}', error(desc, id={"a": 1}))
    raw.expect_all(b'{"execute": "nope", "id": null}', error("The command nope has not been found", "CommandNotFound", id=None))
    raw.expect_all(b'{"execute": "query-events"}', error("The command query-events has not been found", "CommandNotFound"))


def test_arguments(t):
    daemon = t.daemon("a")
    t.vmm(daemon)
    raw = Raw(daemon)
    channel = {"channel-type": "main", "addr": {"transport": "socket", "type": "inet", "host": "h"}}
    for command, arguments, desc in (
            ("stop", {"x": 1}, "Parameter 'x' is unexpected"),
            ("closefd", {}, "Parameter 'fdname' is missing"),
            ("closefd", {"fdname": 1}, "Invalid parameter type for 'fdname', expected: string"),
            ("migrate", {"resume": "yes"}, "Invalid parameter type for 'resume', expected: boolean"),
            ("migrate", {"channels": {}}, "Invalid parameter type for 'channels', expected: array"),
            ("migrate", {"channels": [channel]}, "Parameter 'channels[0].addr.port' is missing"),
            ("migrate", {"channels": [{"channel-type": "main", "addr": {**channel["addr"], "port": "1"}, "y": 1}]}, "Parameter 'channels[0].y' is unexpected"),
            ("migrate-set-capabilities", {"capabilities": [1]}, "Invalid parameter type for 'capabilities[0]', expected: object"),
            ("migrate-set-capabilities", {"capabilities": [{"capability": "foo", "state": True}]},
             "Parameter 'capability' does not accept value 'foo'"),
            ("migrate-continue", {"state": 1}, "Invalid parameter type for 'state', expected: string"),
            ("remove-fd", {"fdset-id": "1"}, "Invalid parameter type for 'fdset-id', expected: integer"),
            ("remove-fd", {"fdset-id": 1.5}, "Invalid parameter type for 'fdset-id', expected: integer"),
            ("migrate-set-parameters", {"max-bandwidth": "1G"}, "Parameter 'max-bandwidth' expects uint64"),
            ("migrate-set-parameters", {"max-bandwidth": 1.5}, "Parameter 'max-bandwidth' expects uint64"),
            ("migrate-set-parameters", {"multifd-channels": 256}, "Parameter 'multifd-channels' expects uint8_t"),
            ("migrate-set-parameters", {"multifd-channels": -1}, "Parameter 'multifd-channels' expects uint8_t"),
            ("migrate-set-parameters", {"x-checkpoint-delay": 1 << 32}, "Parameter 'x-checkpoint-delay' expects uint32_t"),
            ("migrate-set-parameters", {"tls-creds": 1}, "Invalid parameter type for 'tls-creds', expected: StrOrNull"),
            ("migrate-set-parameters", {"foo": 1}, "Parameter 'foo' is unexpected")):
        raw.expect_all(json.dumps({"execute": command, "arguments": arguments}).encode(), error(desc))
    raw.expect_all(b'{"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": -1}}', {"return": {}})
    t.check(daemon.qmp.command("query-migrate-parameters")["max-bandwidth"] == (1 << 64) - 1, "minus one wraps")
    raw.sock.sendall(b'{"execute": "migrate-set-parameters", "arguments": {"cpu-throttle-initial": 0}}')
    t.check(raw.messages()[0]["error"]["desc"].startswith("Parameter 'cpu_throttle_initial' expects "), "underscores")


def test_order(t):
    daemon = t.daemon("a")
    vmm = t.vmm(daemon)
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    late, raw = Raw(daemon, say=None), Raw(daemon)
    raw.sock.sendall(b'{"execute": "stop", "id": 1} {"execute": "x", "id": 2} + {"execute": "cont", "id": 3} '
                     b'{"execute": "migrate", "arguments": {"uri": "unix:/nowhere/at/all"}, "id": 4}')
    found = raw.messages()
    said = [m.get("event") or m.get("id", "parser") for m in found]
    # Errors of the parser keep their place; a command's events come ahead of its answer.
    t.check(said[:7] == ["STOP", 1, 2, "parser", "RESUME", 3, "MIGRATION"] and 4 in said[7:], f"{said}")
    t.check(found[6]["data"]["status"] == "setup", f"{found[6]}")
    t.check("data" in found[0] or set(found[0]) == {"event", "timestamp"}, f"{found[0]}")
    now = time.time()
    t.check(abs(found[0]["timestamp"]["seconds"] - now) < 600, "the host's clock")
    # Who has not negotiated hears nothing, then or later.
    wait_until(lambda: vmm.migration()["status"] == "failed", "the migration fails")
    late.expect_all(NEGOTIATE, {"return": {}})
    # Without oob, what is pipelined is answered one after another; with it, urgent commands overtake nobody's order.
    oob = Raw(daemon, say=OOB)
    oob.sock.sendall(b"".join(b'{"execute": "query-status", "id": %d}' % i for i in range(8)) +
                     b'{"exec-oob": "query-yank", "id": "now"}')
    ids = [m["id"] for m in oob.messages()]
    t.check([i for i in ids if i != "now"] == list(range(8)) and "now" in ids, f"{ids}")


def test_descriptors(t):
    daemon = t.daemon("a")
    raw = Raw(daemon)

    def send(data, n):
        """With n descriptors, each of which daemon must have closed, but for the one it took."""
        pairs = [os.pipe() for _ in range(n)]
        socket.send_fds(raw.sock, [data], [w for _, w in pairs])
        for _, w in pairs:
            os.close(w)
        return [r for r, _ in pairs]

    def is_closed(r):
        os.set_blocking(r, False)
        try:
            return os.read(r, 1) == b""
        except BlockingIOError:
            return False

    def closed(r):
        return wait_until(lambda: is_closed(r), "the daemon closes a descriptor that nobody took")

    raw.expect(b'{"execute": "getfd", "arguments": {"fdname": "x"}}', error("No file descriptor supplied via SCM_RIGHTS"))
    raw.expect(b'{"execute": "add-fd"}', error("No file descriptor supplied via SCM_RIGHTS"))
    # A lone space carries it, as qemu.qmp does; then a command that wants none; it stays where it was.
    r, = send(b" ", 1)
    raw.expect_all(b'{"execute": "query-jobs"}{"execute": "getfd", "arguments": {"fdname": "x"}}', {"return": []}, {"return": {}})
    t.check(not is_closed(r), "x is kept")
    # The first of several is taken, the others are closed.
    first, *others = send(b'{"execute": "getfd", "arguments": {"fdname": "x"}}', 16)
    t.check(raw.messages() == [{"return": {}}], "getfd")
    for fd in (r, *others):
        closed(fd)
    t.check(not is_closed(first), "the first is kept; what had its name is not")
    # What is not claimed yet is replaced by what comes later.
    old, = send(b" ", 1)
    new, = send(b" ", 1)
    raw.sock.sendall(b'{"execute": "add-fd", "arguments": {"fdset-id": 3}}')
    t.check(raw.messages()[0]["return"]["fdset-id"] == 3, "add-fd")
    closed(old)
    t.check(not is_closed(new), "the later one is in the set")
    other = Raw(daemon)
    other.expect(b'{"execute": "closefd", "arguments": {"fdname": "x"}}', error("File descriptor named 'x' not found"))
    send(b'{"execute": "getfd", "arguments": {"fdname": "1x"}}', 1)
    t.check("digit" in raw.messages()[0]["error"]["desc"], "a name that begins with a digit")
    raw.expect(b'{"execute": "closefd", "arguments": {"fdname": "x"}}', {"return": {}})
    closed(first)


def test_quit_says_why(t):
    daemon = t.daemon("a")
    raw = Raw(daemon)
    raw.sock.sendall(b'{"execute": "quit"}')
    found = json.loads(raw.line())
    t.check(found["event"] == "SHUTDOWN" and found["data"]["reason"] == "host-qmp-quit" and not found["data"]["guest"], f"{found}")
    t.check(json.loads(raw.line()) == {"return": {}} and raw.sock.recv(1) == b"", "the reply, then the end")
    t.check(daemon.wait_exit() == 0, "it ended")


migdtest.main()
