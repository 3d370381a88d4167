# SPDX-License-Identifier: Apache-2.0
"""What happens in one round of a soak: which way the guest goes, with what turned on, and what disturbs it. Tables, and dice."""

import dataclasses
import random

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Way:
    """How a guest gets from one daemon to the other."""

    kind: str                 # "socket"; "fd", "pipe": passed descriptors; "stored": out, and in again; "lazy": in again while it
                              # runs; "snapshot": it stays
    weight: int = 2
    uri: str = ""             # {dir}: the test's directory
    tls: str = ""             # which credentials
    proxied: bool = False     # a link that can be cut may be in between
    shared: bool = False      # by the host's shared port
    on: tuple = ()            # capabilities that it needs


WAYS = {
    "tcp": Way("socket", 6, "tcp:127.0.0.1:0", proxied=True),
    "tcp6": Way("socket", 1, "tcp:[::1]:0"),
    "unix": Way("socket", 3, "unix:{dir}/there"),
    "abstract": Way("socket", 1, "unix-abstract:{dir}"),
    "shared": Way("socket", 3, "shared:", shared=True),
    "tls-psk": Way("socket", 3, "tcp:127.0.0.1:0", tls="psk", proxied=True),
    "tls-x509": Way("socket", 3, "tcp:127.0.0.1:0", tls="x509", proxied=True),
    "shared-tls": Way("socket", 1, "shared:", tls="psk", shared=True),
    "fd": Way("fd", 2, "fd:soak"),
    "pipe": Way("pipe", 1, "fd:soak"),
    "exec": Way("stored", 1, "exec:cat {redirect} {dir}/guest"),
    "file": Way("stored", 2, "file:{dir}/guest"),
    "file-offset": Way("stored", 1, "file:{dir}/guest,offset=4096"),
    "mapped-ram": Way("stored", 2, "file:{dir}/guest", on=("mapped-ram",)),
    "lazy": Way("lazy", 3, "file:{dir}/guest", on=("mapped-ram",)),
    "snapshot": Way("snapshot", 1, "file:{dir}/guest", on=("background-snapshot",)),
    "snapshot-mapped": Way("snapshot", 1, "file:{dir}/guest", on=("background-snapshot", "mapped-ram")),
}

# Capabilities that a plan may turn on; all others are off.
CAPABILITIES = ("multifd", "zero-copy-send", "xbzrle", "postcopy-ram", "postcopy-preempt", "postcopy-blocktime", "auto-converge",
                "return-path", "switchover-ack", "release-ram", "validate-uuid", "mapped-ram", "background-snapshot")

DEFAULTS = {"tls-creds": "", "multifd-compression": "none", "multifd-channels": 2, "max-bandwidth": 0, "max-postcopy-bandwidth": 0,
            "downtime-limit": 300, "reconnect-timeout": 5000, "reconnect-backoff-max": 200}

# What may disturb which kind of way, and how often.
DISTURBANCES = {
    "socket": {"nothing": 8, "cancel": 4, "kill-source-worker": 2, "kill-target-worker": 2, "kill-daemon": 2,
               "kill-daemon-and-worker": 1, "kill-target-vmm": 1},
    "fd": {"nothing": 3, "cancel": 1},
    "pipe": {"nothing": 1},
    "stored": {"nothing": 4, "cancel": 2, "kill-source-worker": 1, "kill-daemon": 1},
    "lazy": {"nothing": 1, "shorten-file": 3, "kill-target-worker": 1, "kill-daemon": 1, "kill-daemon-and-worker": 1},
    "snapshot": {"nothing": 2, "cancel": 1, "kill-source-worker": 1},
}
CUTS = {"cut": 4, "cut-at-message": 4}  # where there is a link

# Where a link can be cut by name: the opening, and each step of handover and post-copy.
MESSAGES = [("out", "hello"), ("back", "reply-config-ok"), ("out", "start-ram"), ("back", "reply-pong"), ("out", "cmd-packaged"),
            ("back", "reply-loaded"), ("out", "cmd-commit"), ("back", "reply-active"), ("out", "cmd-postcopy-run"),
            ("out", "end-ram"), ("back", "reply-shut")]


@dataclasses.dataclass
class Plan:
    number: int
    name: str                   # of the way
    disturbance: str
    capabilities: list
    parameters: dict
    slow: bool                  # what disturbs comes while memory is still on its way
    moment: float               # seconds from the start to it
    postcopy_at: float = None   # seconds from the start to migrate-start-postcopy
    refuse_for: float = 0       # seconds that a cut lasts, or a file is short
    message: tuple = None       # where it is cut
    cut: tuple = None           # or: direction, bytes

    way = property(lambda self: WAYS[self.name])

    def __str__(self):
        what = f"round {self.number}: {self.name} [{' '.join(self.capabilities)}]"
        changed = {k: v for k, v in self.parameters.items() if v != DEFAULTS[k]}
        what += "".join(f" {k}={v}" for k, v in changed.items())
        if self.postcopy_at is not None:
            what += f", post-copy at {self.postcopy_at:.2f} s"
        if self.disturbance != "nothing":
            what += f", {self.disturbance} at {self.message or self.cut or f'{self.moment:.2f} s'}"
        return what + (" (slowly)" if self.slow else "")


def _pick(dice, weights):
    return dice.choices(list(weights), list(weights.values()))[0]


def _memory(dice, way):
    """How memory is sent: capabilities and parameters."""
    kinds = ["plain", "plain"]
    if way.kind == "socket":
        kinds += ["multifd", "multifd", "multifd-compressed", "xbzrle"] + ([] if way.tls or "unix" in way.uri else ["zero-copy"])
    if way.kind == "fd":
        kinds += ["xbzrle"]
    kind = dice.choice(kinds)
    if kind == "xbzrle":
        return ["xbzrle"], {}
    if kind == "plain":
        return [], {}
    parameters = {"multifd-channels": dice.choice((1, 2, 4))}
    if kind == "multifd-compressed":
        parameters["multifd-compression"] = dice.choice(("zlib", "zstd"))
    return ["multifd"] + (["zero-copy-send"] if kind == "zero-copy" else []), parameters


def _capabilities(dice, way):
    on, parameters = _memory(dice, way)
    on += way.on
    if way.kind in ("socket", "fd") and dice.random() < 0.3:
        on.append("postcopy-ram")
        on += [c for c in ("postcopy-preempt",) if way.kind == "socket" and dice.random() < 0.4]
        on += [c for c in ("postcopy-blocktime",) if dice.random() < 0.3]
    if way.kind in ("socket", "fd"):
        on += [c for c in ("return-path", "validate-uuid") if dice.random() < 0.3]
        if "return-path" in on and dice.random() < 0.5:
            on.append("switchover-ack")
    if way.kind != "snapshot" and dice.random() < 0.2:
        on.append("auto-converge")
    return on, parameters


def make(seed, number):
    """The plan of one round: the same for the same seed and number, whatever became of those before."""
    dice = random.Random(f"{seed} {number}")
    name = _pick(dice, {n: w.weight for n, w in WAYS.items()})
    way = WAYS[name]
    capabilities, parameters = _capabilities(dice, way)
    disturbance = _pick(dice, {**DISTURBANCES[way.kind], **(CUTS if way.proxied else {})})
    if "postcopy-ram" in capabilities and dice.random() < 0.3:
        capabilities.append("release-ram")
    slow = disturbance != "nothing" and dice.random() < 0.6
    plan = Plan(number, name, disturbance, capabilities, {**DEFAULTS, **parameters}, slow,
                moment=dice.uniform(0, 0.8 if slow else 0.3), refuse_for=dice.choice((0, 0, dice.uniform(0, 1.5))))
    plan.parameters["downtime-limit"] = dice.choice((1, 50, 300, 2000))
    plan.parameters["reconnect-timeout"] = dice.choice((0, 3000, 5000))
    if "postcopy-ram" in capabilities and dice.random() < 0.8:
        plan.postcopy_at = dice.uniform(0, 0.3)
    if disturbance == "shorten-file":
        plan.refuse_for = dice.uniform(0, 2.5)  # what cannot be read is tried again each second
    if disturbance == "cut":
        plan.cut = (dice.choice(("out", "out", "back")), int(10 ** dice.uniform(1, 7)))
        if plan.cut[0] == "back":
            plan.cut = ("back", int(10 ** dice.uniform(1, 3)))
    # What goes over several connections, or encrypted, shows no messages.
    if disturbance == "cut-at-message":
        if way.tls or "multifd" in capabilities or "postcopy-preempt" in capabilities:
            plan.disturbance, plan.cut = "cut", ("out", int(10 ** dice.uniform(1, 7)))
        else:
            plan.message = dice.choice(MESSAGES)
    return plan
