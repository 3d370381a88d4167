# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces joined by a veth: two hosts, with a cable that can be pulled."""

import contextlib
import os
import subprocess


def _ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


class Pair:
    """names: of the namespaces; addresses: IPv4 of each end."""

    def __init__(self):
        tag = f"migd{os.getpid() % 100000}"
        self.names = (tag + "a", tag + "b")
        self.links = (tag + "va", tag + "vb")
        self.addresses = ("10.77.0.1", "10.77.0.2")

    def make(self):
        for name in self.names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", self.links[0], "netns", self.names[0], "type", "veth",
            "peer", "name", self.links[1], "netns", self.names[1])
        for name, link, address in zip(self.names, self.links, self.addresses):
            _ip("-n", name, "address", "add", address + "/24", "dev", link)
            _ip("-n", name, "link", "set", link, "up")

    def cable(self, plugged):
        """Pull the cable, or plug it in again."""
        _ip("-n", self.names[0], "link", "set", self.links[0], "up" if plugged else "down")

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.contextmanager
def pair():
    spaces = Pair()
    try:
        spaces.make()
        yield spaces
    finally:
        spaces.remove()
