# SPDX-License-Identifier: Apache-2.0
"""A host with guests that is emptied onto others."""

from migd_arrivals import Host
from migd_process import SLOW, wait_until
from migd_qmp import QmpError

OPTIONS = {"working_set": "1M", "memory": "32M"}
FINAL = ("completed", "incomplete", "cancelled")


def host(t, name, **options):
    return Host(t, name, **{"memory": "32M", "working_set": "1M", **options})


def by_name(info):
    return {g["guest"]: g for g in info["guests"]}


class Source:
    """A daemon `a` with guests g0 ... of 32 MiB; `sizes`: of others."""

    def __init__(self, t, n, sizes=None, **limits):
        self.t = t
        self.daemon = t.daemon("a")
        self.sizes = sizes or ["32M"] * n
        self.guests = [t.vmm(self.daemon, name=f"g{i}", **{**OPTIONS, "memory": size}) for i, size in enumerate(self.sizes)]
        if limits:
            self.daemon.qmp.command("host-set-parameters", {k.replace("_", "-"): v for k, v in limits.items()})
        for guest in self.guests:
            t.assert_runs(guest, beats=1)

    def evacuate(self, *hosts, **plan):
        destinations = [h if isinstance(h, dict) else {"uri": h.uri()} for h in hosts]
        self.daemon.qmp.command("evacuate", {"destinations": destinations,
                                             **{k.replace("_", "-"): v for k, v in plan.items()}})

    def refused(self, plan, *words):
        try:
            self.daemon.qmp.command("evacuate", plan)
        except QmpError as e:
            for word in words:
                self.t.check(word in e.desc, f"{e.desc!r} does not mention {word!r}")
            return
        raise AssertionError(f"{plan} was accepted")

    def info(self):
        return self.daemon.qmp.command("query-evacuation")

    def states(self):
        return {g["guest"]: g["state"] for g in self.info()["guests"]}

    def entry(self, name):
        return next(g for g in self.info()["guests"] if g["guest"] == name)

    def wait_end(self, status, timeout=60):
        info = wait_until(lambda: (lambda i: i if i["totals"]["status"] in FINAL else None)(self.info()),
                          "the evacuation ends", timeout=timeout, alive=[self.daemon])
        self.t.check(info["totals"]["status"] == status, f"{status}, not {info}")
        return info

    def wait_state(self, *states, n=1):
        """At least N guests are in one of these states; their names."""
        return wait_until(lambda: (lambda found: found if len(found) >= n else None)(
            [g for g, s in self.states().items() if s in states]), f"{n} guests are {states}", alive=[self.daemon])

    def restart(self):
        """Another daemon after this one was killed, with the same guests."""
        self.daemon.kill()
        self.daemon.drop_session()
        self.daemon = self.t.daemon("a")
        for guest in self.guests:
            guest.daemon = self.daemon

    def assert_everybody_runs_once(self, *hosts, gone=()):
        """Each guest runs at exactly one place, and found nothing wrong."""
        places = {}
        for h in hosts:
            if h.daemon.running():
                for name, entry in h.guests().items():
                    if entry["run-state"] == "running":
                        places.setdefault(name, []).append(h.arrived(name))
        for guest in self.guests:
            if guest.running():
                entry = self.daemon.guest(guest.name)
                if entry and entry["attached"] and entry["run-state"] == "running":
                    places.setdefault(guest.name, []).append(guest)
        for guest in self.guests:
            if guest.name in gone:
                continue
            found = places.get(guest.name, [])
            self.t.check(len(found) == 1, f"{guest.name} runs at {[p.label for p in found]}")
            self.t.assert_runs(found[0], beats=1, timeout=30 * SLOW)
            if found[0] is not guest:
                self.t.assert_stopped(guest, 0.05)
        return {name: found[0] for name, found in places.items()}
