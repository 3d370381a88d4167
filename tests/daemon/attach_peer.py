# SPDX-License-Identifier: Apache-2.0
"""A VMM that is none: speaks the attach protocol byte by byte, so that it can be got wrong."""

import array
import os
import select
import socket
import struct
import time

import migdtest

MAGIC = 0x4147494D
DECISION_MAGIC = 0x4344474D
HEADER = struct.Struct("<IHHIIIiHHI")  # magic version type seq reply-to length error nfds flags epoch
HELLO, PAUSE, RESUME, MIG_OPEN, RESOLVE, REQUEST_RESET, REQUEST_SHUTDOWN, EVENT = 1, 2, 3, 4, 5, 6, 7, 98
ANNOUNCE, DISCARD = 11, 18
RUNNING, INCOMING = 1, 2  # roles
RS_RUNNING, RS_PAUSED, RS_INMIGRATE = 1, 2, 3
HS_RUNNING, HS_RELEASED, HS_RETIRED, HS_EMPTY = 1, 4, 5, 6
STOPPED, RESUMED, SHUTDOWN, RESET, PANIC, SUSPEND, WAKEUP, HANDOVER = 1, 2, 3, 4, 5, 6, 7, 8
BLOCKED = 13
BAD_STATE = 2  # error names


def text(s):
    data = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<H", len(data)) + data


def decision_page(state=HS_RUNNING, handover_id=bytes(16), magic=DECISION_MAGIC, length=4096, sealed=True):
    fd = os.memfd_create("decision", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(fd, length)
    os.pwrite(fd, struct.pack("<II16sII", magic, 1, handover_id, state, 0), 0)
    if sealed:
        import fcntl
        fcntl.fcntl(fd, 1033, 0x2 | 0x4)  # F_ADD_SEALS: F_SEAL_SHRINK | F_SEAL_GROW
    return fd


class Message:
    def __init__(self, data, fds):
        (self.magic, self.version, self.type, self.seq, self.reply_to, self.length, self.error, self.nfds, self.flags,
         self.epoch) = HEADER.unpack(data[:HEADER.size])
        self.body = data[HEADER.size:]
        self.fds = fds

    @property
    def text(self):
        return self.body.decode()


class Peer:
    """One connection; `daemon` is tests/lib's."""

    def __init__(self, daemon=None, sock=None):
        self.sock = sock or socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if daemon:
            self.sock.connect(daemon.attach_path)
        self.seq = 0
        self.page = None

    def close(self):
        self.sock.close()

    def send_raw(self, data, fds=()):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([data], control)

    def send(self, type, body=b"", fds=(), reply_to=0, error=0, **header):
        self.seq += 1
        h = {"magic": MAGIC, "version": 1, "type": type, "seq": self.seq, "reply_to": reply_to, "length": len(body),
             "error": error, "nfds": len(fds), "flags": 0, "epoch": 0, **header}
        self.send_raw(HEADER.pack(*h.values()) + body, fds)

    def receive(self, timeout=20):
        """The next message; None: the daemon closed the connection."""
        if not select.select([self.sock], [], [], timeout)[0]:
            raise AssertionError("the daemon says nothing")
        try:
            data, control, _, _ = self.sock.recvmsg(65536, 4096)
        except ConnectionResetError:
            return None
        fds = []
        for _, _, cmsg in control:
            fds += array.array("i", cmsg[:len(cmsg) - len(cmsg) % 4])
        return Message(data, fds) if data else None

    def request(self, type, timeout=20):
        """The daemon's next request, which must be of this type."""
        m = self.receive(timeout)
        assert m and m.type == type and not m.reply_to, f"expected a request of type {type}: {m and vars(m)}"
        return m

    def reply(self, m, body=b""):
        self.send(m.type, body, reply_to=m.seq)

    def refuse(self, m, error, why):
        self.send(m.type, why.encode(), reply_to=m.seq, error=error)

    def hello_body(self, name="fake", proto=(1, 1), role=RUNNING, run_state=None, handover=None, handover_id=bytes(16),
                   n_vcpus=1, prev_epoch=0, uuid=bytes(16), arch="x86_64"):
        self.handover = handover or (HS_RUNNING if role == RUNNING else HS_EMPTY)
        self.run_state = run_state or (RS_RUNNING if role == RUNNING else RS_INMIGRATE)
        return (struct.pack("<HHQ16s", *proto, 0, uuid) + text(name) + text(arch) +
                struct.pack("<BBB16sIIQII", role, self.run_state, self.handover, handover_id, 4096, n_vcpus, 64 << 20,
                            prev_epoch, os.getpid()))

    def hello(self, name="fake", **options):
        """Attach; the reply."""
        body = self.hello_body(name, **options)
        self.page = decision_page(self.handover, options.get("handover_id", bytes(16)))
        self.send(HELLO, body, [self.page])
        return self.receive()

    def event(self, kind, run_state=None, handover=None, handover_id=bytes(16), why=""):
        self.run_state = run_state or self.run_state
        self.handover = handover or self.handover
        os.pwrite(self.page, struct.pack("<16sI", handover_id, self.handover), 8)
        self.send(EVENT, struct.pack("<HBB16sQ", kind, self.run_state, self.handover, handover_id, 0) + text(why))

    def wait_closed(self, timeout=20):
        """Wait for the daemon to close; the messages that came before."""
        deadline, messages = time.monotonic() + timeout, []
        while True:
            m = self.receive(max(0, deadline - time.monotonic()))
            if not m:
                return messages
            messages.append(m)


def attached(daemon, name="fake", **options):
    """A peer that is a guest of `daemon`."""
    peer = Peer(daemon)
    reply = peer.hello(name, **options)
    assert reply and not reply.error, f"not attached: {reply and reply.text}"
    return peer


def refused(t, daemon, command, arguments, *words):
    """COMMAND fails, and its error has all WORDS."""
    try:
        daemon.qmp.command(command, arguments)
    except migdtest.QmpError as e:
        for word in words:
            t.check(word in e.desc, f"{command}: {e.desc!r} does not say {word!r}")
        return
    raise AssertionError(f"{command} {arguments} was accepted")
