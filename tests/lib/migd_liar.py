# SPDX-License-Identifier: Apache-2.0
"""A VMM that lies: a real one, with its real guest, whose words to daemon and worker go through a man in the middle.

    liar = migd_liar.Liar(t, daemon)
    vmm = liar.vmm(name="g", ...)
    liar.lie = lambda m: ...        each message of the VMM: None passes it, [(data, fds), ...] goes in its place
"""

import array
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "daemon"))
import attach_peer  # noqa: E402
from attach_peer import HEADER, Message  # noqa: E402
from migd_process import wait_until  # noqa: E402

(RAM_TABLE, CONFIG_GET, CONFIG_CHECK, HANDOVER_BEGIN, DIRTY_START, DIRTY_SYNC, DIRTY_CLEAR, MIG_PAUSE, STATE_SAVE, STATE_LOAD,
 LOADED, RELEASE, ACTIVATE, RETIRE, EVENT) = 32, 33, 34, 35, 36, 37, 38, 40, 42, 43, 44, 45, 46, 47, attach_peer.EVENT
F_SEAL_SHRINK_GROW = 0x2 | 0x4
FDS_MAX = 253  # SCM_MAX_FD


def pack(m, body=None, nfds=None, **changes):
    """A message again, with another body or header."""
    body = m.body if body is None else body
    h = {"magic": m.magic, "version": m.version, "type": m.type, "seq": m.seq, "reply_to": m.reply_to, "length": len(body),
         "error": m.error, "nfds": m.nfds if nfds is None else nfds, "flags": m.flags, "epoch": m.epoch, **changes}
    return HEADER.pack(*h.values()) + body


def send(sock, data, fds):
    try:
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
    except OSError:
        pass  # it left


class Blocks:
    """RAM_TABLE's reply: (name, [len, fd_offset, host_base, gpa, page_size], flags) each."""

    def __init__(self, body):
        self.total, n, length = struct.unpack_from("<III", body)
        at, self.blocks = 12, []
        for _ in range(n):
            size = struct.unpack_from("<H", body, at)[0]
            name = body[at + 2:at + 2 + size]
            at += 2 + size
            *numbers, flags = struct.unpack_from("<QQQQQI", body, at)
            at += 44
            self.blocks.append([name, numbers, flags])
        assert at == 12 + length == len(body), "RAM_TABLE is understood"

    def pack(self):
        blocks = b"".join(attach_peer.text(name) + struct.pack("<QQQQQI", *numbers, flags) for name, numbers, flags in self.blocks)
        return struct.pack("<III", self.total, len(self.blocks), len(blocks)) + blocks


class Liar:
    """Where a VMM attaches in place of its daemon's socket."""

    def __init__(self, t, daemon):
        self.t, self.daemon = t, daemon
        self.lie = lambda m: None
        self.made = []  # descriptors that were sent in place of the VMM's
        self.attach_path = os.path.join(t.dir, f"liar-{daemon.name}-{t.count('liar')}")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.attach_path)
        self._listener.listen()
        t.cleanup.callback(self._close)
        self._start(self._accept)

    def _close(self):
        self._listener.close()
        for fd in self.made:
            os.close(fd)

    @staticmethod
    def _start(function, *args):
        threading.Thread(target=function, args=args, daemon=True).start()

    def _accept(self):
        while True:
            try:
                vmm = self._listener.accept()[0]
                daemon = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                daemon.connect(self.daemon.attach_path)
            except OSError:
                return
            self._join(vmm, daemon)

    def _join(self, vmm, other):
        self._start(self._pump, vmm, other, self._from_vmm)
        self._start(self._pump, other, vmm, self._to_vmm)

    def _pump(self, source, sink, words):
        while True:
            try:
                data, control, _, _ = source.recvmsg(1 << 17, socket.CMSG_SPACE(4 * FDS_MAX))
            except OSError:
                data = b""
            if not data:
                break
            fds = [fd for _, _, cmsg in control for fd in array.array("i", cmsg[:len(cmsg) - len(cmsg) % 4])]
            for out, its_fds in words(Message(data, fds), data):
                send(sink, out, its_fds)
            for fd in fds:
                os.close(fd)
        for end in source, sink:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _from_vmm(self, m, data):
        said = self.lie(m)
        return [(data, m.fds)] if said is None else said

    def _to_vmm(self, m, data):
        if m.type != attach_peer.MIG_OPEN or not m.fds:
            return [(data, m.fds)]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._join(ours, socket.socket(fileno=os.dup(m.fds[0])))
        self.made.append(theirs.detach())
        return [(data, [self.made[-1]])]

    def vmm(self, name="liar", **options):
        """A VMM that attaches here."""
        vmm = self.t.vmm(self.daemon, name=name, attached=False, extra=("--attach", self.attach_path), **options)
        wait_until(lambda: (self.daemon.guest(name) or {}).get("attached"), f"{name} is attached", alive=[vmm, self.daemon])
        return vmm

    def socket_fd(self):
        """A descriptor that is no memory."""
        return self._listener.fileno()

    def memory(self, length, sealed=False):
        """A memfd in place of a VMM's."""
        import fcntl
        fd = os.memfd_create("lie", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(fd, length)
        if sealed:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_SHRINK_GROW)
        self.made.append(fd)
        return fd
