# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces joined by veths: two hosts, with cables that can be pulled."""

import contextlib
import os
import shutil
import subprocess


def _ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


class Pair:
    """names: of the namespaces; addresses, links: IPv4 and interface of each end of the first cable."""

    # Nobody's (RFC 5737); see make_black_hole().
    BLACK_HOLE = "192.0.2.1"

    def __init__(self):
        self.tag = f"migd{os.getpid() % 100000}"
        self.names = (self.tag + "a", self.tag + "b")
        self.n_cables = 0

    def make(self):
        for name in self.names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        self.links, self.addresses = self.add_cable()

    def add_cable(self):
        """One more between the two: ((interface, interface), (address, address))."""
        n = self.n_cables
        self.n_cables += 1
        links = (f"{self.tag}va{n}", f"{self.tag}vb{n}")
        addresses = (f"10.77.{n}.1", f"10.77.{n}.2")
        _ip("link", "add", links[0], "netns", self.names[0], "type", "veth",
            "peer", "name", links[1], "netns", self.names[1])
        for name, link, address in zip(self.names, links, addresses):
            _ip("-n", name, "address", "add", address + "/24", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
        return links, addresses

    def ip(self, side, *args):
        """`ip ARGS` in the namespace of the first (0) or second (1) host."""
        _ip("-n", self.names[side], *args)

    def run(self, side, *argv):
        """A command in a namespace; its output."""
        argv = ["ip", "netns", "exec", self.names[side], *argv]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def cable(self, plugged):
        """Pull the first cable, or plug it in again."""
        _ip("-n", self.names[0], "link", "set", self.links[0], "up" if plugged else "down")

    def make_black_hole(self):
        """Packets for BLACK_HOLE go to the second host, which drops them without a word."""
        self.run(1, "sysctl", "-qw", "net.ipv4.ip_forward=0")
        self.ip(0, "route", "add", self.BLACK_HOLE + "/32", "via", self.addresses[1])

    def etc(self, side, file, text):
        """What programs started there (`ip netns exec`) see as /etc/FILE."""
        folder = os.path.join("/etc/netns", self.names[side])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, file), "w") as f:
            f.write(text)

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
            shutil.rmtree(os.path.join("/etc/netns", name), ignore_errors=True)
        try:
            os.rmdir("/etc/netns")
        except OSError:
            pass  # it is not there, or not empty


@contextlib.contextmanager
def pair():
    spaces = Pair()
    try:
        spaces.make()
        yield spaces
    finally:
        spaces.remove()
