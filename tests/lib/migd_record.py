# SPDX-License-Identifier: Apache-2.0
"""Reading the history of migrations, and what has to hold for every record."""

PARTS = ("pause", "hold", "save", "sync", "ram", "transfer", "load", "commit", "resume")
ENDED = ("completed", "failed", "cancelled")


def history(daemon, **filters):
    return daemon.qmp.command("query-migration-history", filters)


def record_of(vmm, **which):
    """The record of a guest's last migration, looked through."""
    found = vmm.daemon.qmp.command("query-migration-record", which or {"guest": vmm.name})
    check(found)
    return found


def statuses(record):
    return [p["status"] for p in record["phases"]]


def events(record, kind):
    return [e["text"] for e in record["events"] if e["kind"] == kind]


def insist(condition, what):
    if not condition:
        raise AssertionError(what)


def in_order(record, name, key="at"):
    times = [x[key] for x in record[name]]
    insist(times == sorted(times), f"{name} are not in order: {times}")
    # What is noted at the end may be noted just after it.
    insist(not times or times[-1] <= record["duration"] + 2_000_000, f"{name} came after the end: {times}")


def check(r):
    """What is true of every record, finished or not."""
    for name in ("phases", "passes", "samples", "stalls", "events"):
        in_order(r, name)
    insist(r["phases"][0] == {"status": "setup", "at": r["phases"][0]["at"]}, f"it begins with setup: {r['phases']}")
    insist(statuses(r)[-1] == r["status"] or r["status"] not in ENDED, f"the last phase is the status: {r['phases']}")
    insist(("error-desc" in r) or r["status"] not in ("failed", "cancelled"), f"why did it fail? {r}")
    insist(len(r["samples"]) <= 512 and len(r["passes"]) <= 256 and len(r["events"]) <= 256, "it is bounded")
    sent = [s["transferred"] for s in r["samples"]]
    insist(sent == sorted(sent), f"bytes do not come back: {sent}")
    for a, b in zip(r["passes"], r["passes"][1:]):
        insist(b["at"] == a["at"] + a["duration"] or b["pass"] > a["pass"] + 1, f"passes follow each other: {a} {b}")
    if "blackout" in r:
        b = r["blackout"]
        parts = sum(b[p] for p in PARTS)
        insist(0 <= b["total"] - parts <= len(PARTS), f"the blackout's parts are {parts} us: {b}")
        insist(b["at"] + b["total"] <= r["duration"] + 100_000, f"the blackout ends after the migration: {b}")


def check_against(record, info):
    """A completed source's record says what query-migrate says."""
    ram = info["ram"]
    passes = record["passes"]
    insist(record["ram"] == ram, f"the same numbers: {record['ram']} and {ram}")
    insist(record["transferred"] == ram["transferred"], f"{record['transferred']} bytes, not {ram['transferred']}")
    insist(passes[-1]["pass"] == ram["dirty-sync-count"], f"{len(passes)} passes, not {ram['dirty-sync-count']}")
    insist([p["pass"] for p in passes] == list(range(1, len(passes) + 1)), f"none is left out: {passes}")
    for name, whole in ("normal-pages", ram["normal"]), ("zero-pages", ram["duplicate"]):
        insist(sum(p[name] for p in passes) == whole, f"{name} of the passes: not {whole}: {passes}")
    sent = sum(p["bytes"] for p in passes)
    # Besides there are the stream's head and the devices' state.
    insist(0 <= ram["transferred"] - sent < 256 << 10, f"the passes sent {sent} of {ram['transferred']} bytes")
    insist(info["downtime"] == (record["downtime"] + 999) // 1000, f"{record['downtime']} us are {info['downtime']} ms")
    insist(record["downtime"] == record["blackout"]["total"], f"{record['blackout']}")
    for part, us in info["blackout"].items():
        insist(record["blackout"][part] == us, f"{part}: {us}, not {record['blackout']}")
