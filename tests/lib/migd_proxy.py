# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy between two daemons that knows the messages of the stream, and breaks the connection where a test says.

A rule is called for each message before it is passed on: rule(direction, name, count), direction "out" (source to
destination) or "back", count = the how many-th of that name on this connection (1 is the first). rewrite() is called with
the message's bytes as well. They return

    None          pass it on
    bytes         pass these on in its place
    "cut"         pass it on, then reset both connections
    "cut-before"  reset both connections instead
    "mute"        swallow it and all that follows in this direction
"""

import contextlib
import socket
import struct
import threading
import time

import migd_stream


class Proxy:
    """
    Listens on 127.0.0.1; `port` and `uri` say where. cut_at: (direction, n): reset after n bytes of it, and refuse from then on.
    cuts: such pairs, n counted over all connections, each of which resets what is open, once; then new connections are
    refused for `refuse_for` seconds. encrypted: there are no messages to be seen.
    """

    def __init__(self, target_port, rule=None, rewrite=None, cut_at=None, cuts=(), refuse_for=0, encrypted=False, host="127.0.0.1"):
        self.target = (host, target_port)
        self.rule = rule
        self.rewrite = rewrite
        self.cut_at = cut_at
        self.cuts = list(cuts)
        self.refuse_for = refuse_for
        self.refuse_until = 0
        self.n_cuts = 0
        self.encrypted = encrypted
        self.record = None        # record(direction, piece, name): everything; a message's name comes with its last piece
        self.refuse = False       # True: close new connections at once
        self.refuse_after_cut = True
        self.clients = []         # addresses that connections came from
        self.seen = []            # [(direction, name)] of all messages but RAM records
        self.passed = {"out": 0, "back": 0}
        self.was_cut = threading.Event()
        self.deaf = []
        self._open = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.uri = f"tcp:127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._shut(self._listener)
        self.cut()
        for sock in self.deaf:
            sock.close()

    def heal(self):
        """Let connections through again, and break them no more."""
        self.rule = self.rewrite = self.cut_at = None
        self.refuse = False

    def cut(self):
        """Reset everything that is open."""
        self.was_cut.set()
        self.refuse_until = time.monotonic() + self.refuse_for
        with self._lock:
            pairs, self._open = self._open, []
        for sock in (s for pair in pairs for s in pair):
            self._reset(sock)

    def stop_listening(self):
        """Refuse new connections for good, as a host does whose target is gone."""
        self._shut(self._listener)

    def cut_source(self):
        """Reset the source's side of all connections; the other side hears nothing, and goes on hearing nothing."""
        with self._lock:
            pairs, self._open = self._open, []
        self.deaf += [server for _, server in pairs]
        for client, _ in pairs:
            self._reset(client)

    @staticmethod
    def _reset(sock):
        """RST, and nothing before that could pass for an orderly end."""
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.shutdown(socket.SHUT_RD)  # wakes who reads it
        sock.close()

    @staticmethod
    def _shut(sock):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()

    def _accept(self):
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            self.clients.append(address[0])
            if self.refuse or time.monotonic() < self.refuse_until:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            for sock in pair:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.append(pair)
            for direction, a, b, parser in (("out", client, server, migd_stream.forward()),
                                            ("back", server, client, migd_stream.backward())):
                threading.Thread(target=self._pump, args=(direction, a, b, parser, pair), daemon=True).start()

    def _pump(self, direction, a, b, parser, pair):
        marker = migd_stream.Marker(parser)
        marker.broken = self.encrypted
        muted = False
        counts = {}
        try:
            while True:
                data = a.recv(1 << 18)
                if b in self.deaf or pair not in self._open:
                    return
                if not data:
                    b.sendall(marker.leftover())
                    b.shutdown(socket.SHUT_WR)
                    return
                for piece, name in marker.feed(data):
                    action = None
                    if self.record:
                        self.record(direction, piece, name)
                    if name:
                        counts[name] = counts.get(name, 0) + 1
                        if name != "ram-record":
                            self.seen.append((direction, name))
                        action = self.rule and self.rule(direction, name, counts[name])
                        if self.rewrite and not action:
                            action = self.rewrite(direction, name, counts[name], piece)
                    if isinstance(action, bytes):
                        piece = action
                    if action == "mute":
                        muted = True
                    if action == "cut-before":
                        return self._break()
                    if not muted and not self._send(direction, b, piece):
                        return None
                    if action == "cut":
                        return self._break()
        except OSError:
            if pair[1] in self.deaf:
                return
            with self._lock:
                if pair in self._open:
                    self._open.remove(pair)
            for sock in pair:
                self._shut(sock)

    def _break(self):
        self.refuse = self.refuse_after_cut
        self.cut()

    def _send(self, direction, to, piece):
        """False if this was where to cut."""
        if self.cuts and self.cuts[0][0] == direction and self.passed[direction] + len(piece) >= self.cuts[0][1]:
            n = max(self.cuts.pop(0)[1] - self.passed[direction], 0)
            to.sendall(piece[:n])
            self.passed[direction] += n
            self.n_cuts += 1
            self.cut()
            return False
        if self.cut_at and self.cut_at[0] == direction:
            left = self.cut_at[1] - self.passed[direction]
            if len(piece) >= left:
                to.sendall(piece[:left])
                self.passed[direction] += left
                self._break()
                return False
        to.sendall(piece)
        self.passed[direction] += len(piece)
        return True
