# SPDX-License-Identifier: Apache-2.0
"""Just enough of the stream's format to know where its messages end (engine/wire.h).

A Marker is fed bytes in any pieces and says which messages ended in them: names such as "part-ram", "cmd-commit",
"reply-loaded", and "ram-record" for each record inside a RAM section, "urgent-page" for each one on post-copy's urgent
channel, "live-chunk" for each chunk of a device's.
"""

import collections
import struct

SECTIONS = {1: "start", 2: "part", 3: "end", 4: "full"}
COMMANDS = {1: "open-return-path", 2: "ping", 3: "postcopy-advise", 4: "postcopy-listen", 5: "postcopy-run",
            6: "ram-discard", 7: "packaged", 9: "postcopy-resume", 10: "recv-bitmap", 11: "switchover-start",
            0x4D01: "hello", 0x4D02: "config", 0x4D03: "commit", 0x4D04: "ask", 0x4D05: "settled",
            0x4D06: "abort", 0x4D08: "preflight", 0x4D0A: "precopy-resume"}
REPLIES = {1: "shut", 2: "pong", 3: "req-pages-id", 4: "req-pages", 5: "recv-bitmap", 6: "resume-ack", 7: "switchover-ack",
           0x4D01: "hello", 0x4D02: "config-ok", 0x4D03: "error", 0x4D04: "loaded", 0x4D05: "active", 0x4D06: "not-active",
           0x4D08: "mismatch", 0x4D09: "preflight", 0x4D0A: "precopy-resumed",
           0x4D0B: "incomplete"}
ZERO, MEM_SIZE, PAGE, EOS, CONTINUE, MARK, RUN = 0x002, 0x004, 0x008, 0x010, 0x020, 0x100, 0x400
PAGE_SIZE = 4096

# A parser is a generator: it yields a number to be sent so many bytes, or the name of a message that ended.


def _str8():
    return (yield (yield 1)[0])


def _be32():
    return struct.unpack(">I", (yield 4))[0]


def _ram_body(record="ram-record"):
    while True:
        word, = struct.unpack(">Q", (yield 8))
        flags, value = word & (PAGE_SIZE - 1), word & ~(PAGE_SIZE - 1)
        if flags & MEM_SIZE:
            while value > 0:
                yield from _str8()
                value -= struct.unpack(">Q", (yield 8))[0]
        elif flags & (PAGE | ZERO):
            if not flags & CONTINUE:
                yield from _str8()
            n = (yield from _be32()) if flags & RUN else 1
            if flags & PAGE:
                yield n * PAGE_SIZE
            elif not flags & RUN:
                yield 1
        elif not flags & (EOS | MARK):
            raise ValueError(f"RAM record {word:#x}")
        yield record
        if flags & EOS:
            return


def _live_body(kind):
    """What a VMM's own device sends while its guest runs: docs/live-devices.md."""
    if kind == "start":
        yield 2
        return
    length = yield from _be32()
    while length:
        yield length
        yield "live-chunk"
        length = yield from _be32()


def _section(kind, names):
    """`names`: of the sections that were announced, by id."""
    number = yield from _be32()
    if kind in ("start", "full"):
        names[number] = (yield from _str8()).decode()
        yield 8
    name = names.get(number, "ram")
    if kind == "full":
        raise ValueError(f"section {name!r} outside a package: its length is not known here")
    yield from (_ram_body() if name == "ram" else _live_body(kind))
    yield 5  # footer
    yield f"{kind}-{name}"


def _command():
    number, length = struct.unpack(">HH", (yield 4))
    payload = yield length
    if number == 7:
        yield struct.unpack(">I", payload)[0]
    yield "cmd-" + COMMANDS.get(number, f"{number:#x}")


def _subsection():
    name = (yield from _str8()).decode()
    yield 4
    if name == "configuration/uuid":
        yield 16
    else:
        for _ in range((yield from _be32())):
            yield from _str8()
    yield "subsection"


def forward():
    """Source to destination."""
    names = {}
    while True:
        byte = (yield 1)[0]
        if byte == 0x51:  # "QEVM": each connection begins with it
            yield 7
            yield "header"
        elif byte == 0x4D:  # "MiGd": names the guest, at a shared port; "MPMR": post-copy's urgent channel
            if (yield 3) == b"PMR":
                yield 16
                yield "urgent-hello"
                while True:
                    yield from _ram_body("urgent-page")
            yield 148
            yield "preamble"
        elif byte == 7:
            yield (yield from _be32())
            yield "configuration"
        elif byte == 5:  # of the configuration
            yield from _subsection()
        elif byte in SECTIONS:
            yield from _section(SECTIONS[byte], names)
        elif byte == 8:
            yield from _command()
        elif byte == 0:
            yield "eof"
        elif byte == 6:
            yield (yield from _be32())
            yield "vmdescription"
        else:
            raise ValueError(f"section type {byte:#x}")


def backward():
    """Destination to source: the return path."""
    while True:
        number, length = struct.unpack(">HH", (yield 4))
        yield length
        if number == 5:  # the bitmap is not counted
            yield struct.unpack(">Q", (yield 8))[0] + 8
        yield "reply-" + REPLIES.get(number, f"{number:#x}")


HOLD_MAX = 1 << 16


class Marker:
    """Runs a parser over pieces. A stream it does not understand gives one mark "unparsed", and none after it."""

    def __init__(self, parser):
        self._parser = parser
        self._need = next(parser)
        self._buf = bytearray()
        self._held = b""  # of an unfinished message, parsed already
        self.counts = collections.Counter()
        self.broken = False

    def feed(self, data):
        """[(bytes, name)]: whole messages; an unfinished one is kept, unless it is long: then its last piece has the name."""
        if self.broken:
            return [(bytes(data), None)]
        self._buf += data
        done, taken, start = [], 0, 0
        while not self.broken:
            if isinstance(self._need, str):
                self.counts[self._need] += 1
                done.append((self._held + bytes(self._buf[start:taken]), self._need))
                self._held = b""
                start = taken
                self._need = next(self._parser)
            elif len(self._buf) - taken >= self._need:
                piece = bytes(self._buf[taken:taken + self._need])
                taken += self._need
                try:
                    self._need = self._parser.send(piece)
                except (ValueError, UnicodeDecodeError):
                    self.broken = True
            else:
                break
        if self.broken:
            done.append((self._held + bytes(self._buf[start:]), "unparsed"))
            self._held = b""
            self._buf.clear()
            return done
        # What was taken of an unfinished message has been parsed: keep it for sending, but do not parse it again.
        self._held += bytes(self._buf[start:taken])
        del self._buf[:taken]
        if len(self._held) > HOLD_MAX:
            done.append((self._held, None))
            self._held = b""
        return done

    def leftover(self):
        """What is kept, at the end of the stream."""
        return self._held + bytes(self._buf)
