#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# SERIAL: makes network namespaces with fixed addresses
# TIMEOUT: 180
"""A migration network: connections come from the address, and leave by the interface, that were asked for."""

import re

import migdtest
import migd_netns
from migd_process import wait_until

FAR = "10.77.9.9"     # the second host's, to be reached over either cable
ALIAS, ALIAS2 = "10.77.0.7", "10.77.1.7"   # second addresses of the first host on the two cables


class Hosts:
    """Two hosts with two cables; the first is the default. `by`: interfaces of the first host."""

    def __init__(self, t):
        migdtest.need_root()
        self.t = t
        self.spaces = t.cleanup.enter_context(migd_netns.pair())
        (first, _), (self.address, peer) = self.spaces.links, self.spaces.addresses
        (second, _), (self.address2, peer2) = self.spaces.add_cable()
        self.by = first, second
        for side in (0, 1):
            self.spaces.run(side, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        self.spaces.ip(0, "address", "add", ALIAS + "/24", "dev", first)
        self.spaces.ip(0, "address", "add", ALIAS2 + "/24", "dev", second)
        self.spaces.ip(1, "address", "add", FAR + "/32", "dev", "lo")
        self.spaces.ip(0, "route", "add", FAR, "via", peer, "metric", "10")
        self.spaces.ip(0, "route", "add", FAR, "via", peer2, "metric", "20")
        t.a, t.b = t.daemon("a", netns=self.spaces.names[0]), t.daemon("b", netns=self.spaces.names[1])
        t.options = {"working_set": "1M"}
        self.src = t.vmm(t.a, **t.options)
        self.dst = t.incoming(t.b, t.options)
        t.assert_runs(self.src)

    def sent_by(self, interface):
        """Bytes that the first host sent by it."""
        return int(self.spaces.run(0, "cat", f"/sys/class/net/{interface}/statistics/tx_bytes"))

    def host_parameters(self, **parameters):
        self.t.a.qmp.command("host-set-parameters", {k.replace("_", "-"): v for k, v in parameters.items()})

    def sources(self, port):
        """The addresses that the destination's connections come from."""
        lines = self.spaces.run(1, "ss", "-Htn", "state", "established", f"sport = :{port}").splitlines()
        return [re.sub(r"^\[?(::ffff:)?|\]?:\d+$", "", line.split()[3]) for line in lines]

    def move(self, source, interface=None, options="", channel=None, connections=1):
        """Migrate; every connection comes from `source`, and the bytes leave by `interface`."""
        t, src, dst = self.t, self.src, self.dst
        port = t.listen(dst, f"tcp:{FAR}:0").rpartition(":")[2]
        before = {i: self.sent_by(i) for i in self.by}
        t.make_slow(src)
        if channel:
            addr = {"transport": "socket", "type": "inet", "host": FAR, "port": port, **channel}
            src.command("migrate", {"channels": [{"channel-type": "main", "addr": addr}]})
        else:
            src.command("migrate", {"uri": f"tcp:{FAR}:{port}{options}"})
        t.wait_active(src)
        found = self.sources(port)
        t.check(len(found) == connections and set(found) == {source},
                f"{connections} connections from {source}, but the destination sees {found}")
        t.speed_up(src)
        info = t.wait_end(src)
        t.check(info["status"] == "completed", f"{info}")
        t.assert_only_runs(dst, src)
        moved = {i: self.sent_by(i) - before[i] for i in self.by}
        if interface:
            t.check(moved[interface] > 1 << 20 and sum(moved.values()) - moved[interface] < 1 << 19,
                    f"all by {interface}: {moved}")


def test_system_chooses(t):
    h = Hosts(t)
    h.move(h.address, h.by[0])


def test_address_of_a_uri(t):
    h = Hosts(t)
    h.move(ALIAS, h.by[0], f",source-address={ALIAS}")


def test_interface_of_a_uri(t):
    h = Hosts(t)
    h.move(h.address2, h.by[1], f",source-interface={h.by[1]}")


def test_both_of_channels(t):
    h = Hosts(t)
    h.move(ALIAS2, h.by[1], channel={"source-address": ALIAS2, "source-interface": h.by[1]})


def test_all_channels(t):
    h = Hosts(t)
    for side in h.src, h.dst:
        side.set(multifd_channels=3)
        side.command("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
    h.host_parameters(source_address=ALIAS2, source_interface=h.by[1])
    h.move(ALIAS2, h.by[1], connections=4)


def test_the_hosts(t):
    h = Hosts(t)
    h.host_parameters(source_interface=h.by[1])
    h.move(h.address2, h.by[1])


def test_own_before_the_hosts(t):
    h = Hosts(t)
    h.host_parameters(source_address=ALIAS, source_interface=h.by[1])
    h.move(h.address, h.by[0], f",source-interface={h.by[0]}")


def test_own_that_leaves_it_to_the_system(t):
    h = Hosts(t)
    h.host_parameters(source_address=ALIAS, source_interface=h.by[1])
    h.move(h.address, h.by[0], ",source-address=0.0.0.0")


def test_what_is_not_there(t):
    """Named, and the guest runs on; it is looked for when it is used, so a later one will do."""
    h = Hosts(t)
    uri = f"tcp:{FAR}:4444"
    for options, words in ((",source-address=192.0.2.9", ("from 192.0.2.9", "no interface of this host has it")),
                           (",source-interface=nosuch", ("by nosuch", "this host has none of that name")),
                           (",source-address=fe80::1%nosuch", ("address resolution failed", "over IPv6"))):
        h.src.command("migrate", {"uri": uri + options})
        t.assert_failed(h.src, *words)
        t.assert_untouched(h.src)
    h.host_parameters(source_interface="nosuch")
    h.src.command("migrate", {"uri": uri})
    t.assert_failed(h.src, "'nosuch'", "this host has none of that name")
    h.spaces.ip(0, "link", "set", h.by[1], "down")
    h.spaces.ip(0, "link", "set", h.by[1], "name", "nosuch", "up")
    h.spaces.ip(0, "route", "add", FAR, "via", "10.77.1.2", "metric", "20")
    h.by = h.by[0], "nosuch"
    h.move(h.address2, "nosuch")


def test_bad_settings_of_the_host(t):
    a = t.daemon("a")
    a.qmp.command("host-set-parameters", {"source-address": "127.0.0.1", "source-interface": "lo"})
    for bad, words in (({"source-address": "host.example"}, "Parameter 'source-address': 'host.example' is no address"),
                       ({"source-address": "127.0.0.1:80"}, "is no address"),
                       ({"source-interface": "much-too-long-for-one"}, "Parameter 'source-interface': 'much-too"),
                       ({"source-address": "", "source-interface": "a/b"}, "cannot be the name of a network interface")):
        try:
            a.qmp.command("host-set-parameters", bad)
            raise AssertionError(f"{bad} was accepted")
        except migdtest.QmpError as e:
            t.check(words in e.desc, f"{bad}: {e.desc!r}")
        now = a.qmp.command("query-host-parameters")
        t.check((now["source-address"], now["source-interface"]) == ("127.0.0.1", "lo"), f"nothing changed: {now}")


def test_connections_that_come_later(t):
    """A source in doubt connects again, from the same address."""
    src, dst = t.pair(working_set="1M")
    lost = "out", "cmd-commit"
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]),
                   rule=lambda d, n, count: "cut-before" if (d, n) == lost else None)
    src.command("migrate", {"uri": link.uri + ",source-address=127.1.2.3,source-interface=lo"})
    wait_until(link.was_cut.is_set, f"the link breaks at {lost}")
    link.heal()
    t.assert_failed(src)
    t.check(len(link.clients) > 1 and set(link.clients) == {"127.1.2.3"}, f"connections came from {link.clients}")


migdtest.main()
