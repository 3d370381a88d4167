# SPDX-License-Identifier: Apache-2.0
"""A TCP link between two hosts that fails as networks do, whatever goes over it: migd_proxy.py is for who knows the messages."""

import contextlib
import socket
import struct
import threading
import time

PIECE = 1 << 16


class Pair:
    """One connection: from whoever connected, and to where it wants to go."""

    def __init__(self, client, server):
        self.ends = client, server
        self.mute = False      # what comes is taken, and goes nowhere
        self.late_until = 0    # nothing is passed on before
        self.halve = False     # half of the next piece, then the end
        self._ended = 0        # directions

    def reset(self):
        """RST, both ways."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._shut(end)

    @staticmethod
    def _shut(end):
        # Wakes who reads it, which closes it; a reset needs the close.
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RD)
        end.close()

    def pump(self, source, sink):
        """Pass on what comes from SOURCE until either end is closed."""
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                while (late := self.late_until - time.monotonic()) > 0:
                    time.sleep(late)
                if self.mute:
                    continue
                if self.halve:
                    sink.sendall(data[:len(data) // 2])
                    break
                sink.sendall(data)
            else:
                sink.shutdown(socket.SHUT_WR)
                self._ended += 1
                if self._ended < len(self.ends):
                    return
        self.reset()


class Link:
    """Listens on 127.0.0.1 at `port`, and passes what comes on to `target`, a port. A new connection is as good as ever."""

    def __init__(self, target):
        self.target = target
        self.refuse_until = 0
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.uri = f"tcp:127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listener.close()
        self.reset()

    def open(self):
        """The connections that there are now."""
        self._pairs = [p for p in self._pairs if all(end.fileno() >= 0 for end in p.ends)]
        return list(self._pairs)

    # The faults: each strikes the connections that there are, and says how many.

    def reset(self, refuse_for=0):
        self.refuse_until = time.monotonic() + refuse_for
        return self._each(Pair.reset)

    def drop(self, seconds):
        def mute(pair):
            pair.mute = True
            threading.Timer(seconds, pair.reset).start()
        return self._each(mute)

    def delay(self, seconds):
        return self._each(lambda pair: setattr(pair, "late_until", time.monotonic() + seconds))

    def truncate(self):
        return self._each(lambda pair: setattr(pair, "halve", True))

    def _each(self, strike):
        pairs = self.open()
        for pair in pairs:
            strike(pair)
        return len(pairs)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if time.monotonic() < self.refuse_until:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = Pair(client, server)
            for end in pair.ends:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append(pair)
            for ends in (pair.ends, pair.ends[::-1]):
                threading.Thread(target=pair.pump, args=ends, daemon=True).start()
