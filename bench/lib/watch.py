# SPDX-License-Identifier: Apache-2.0
"""The blackout, seen from outside: gapwatch over the two memory files."""
import json
import signal

from lib import guest, proc


class WatchError(Exception):
    pass


class Watcher:
    def __init__(self, program, source_ram, target_ram, directory):
        self.process = proc.Process([program, source_ram, target_ram, str(guest.HEARTBEAT)], f"{directory}/gapwatch.log")
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.end()

    def stop(self):
        """What gapwatch saw."""
        self.process.popen.send_signal(signal.SIGTERM)
        self.process.popen.wait(20)
        with open(self.process.log_path, encoding="ascii") as f:
            lines = f.read().splitlines()
        if not lines or not lines[-1].startswith("{"):
            raise WatchError(f"gapwatch: {self.process.log_tail()}")
        return json.loads(lines[-1])


def _check(seen):
    if not seen["switched"]:
        raise WatchError("the guest's counter never went ahead on the target: it does not run there")


def _longest(seen, gaps):
    if seen["dropped"] or not gaps:
        raise WatchError(f"gapwatch kept {len(gaps)} gaps and dropped {seen['dropped']}: no blackout can be told")
    longest = max(gaps, key=lambda g: g["length_ms"])
    return longest["length_ms"], longest["absent_ms"]


def longest_gap(seen, since_s):
    """(length, absent) in ms of the longest gap that ended after SINCE; WatchError if the target never ran."""
    _check(seen)
    return _longest(seen, [g for g in seen["gaps"] if g["at_s"] + g["length_ms"] / 1e3 >= since_s])


def switch_gap(seen):
    """(length, absent) in ms of the gap in which the guest went from the source to the target."""
    _check(seen)
    return seen["switch"]["length_ms"], seen["switch"]["absent_ms"]


def longest_gap_after_switch(seen):
    """(length, absent) in ms of the longest gap that began on the target; (0, 0) if there was none worth keeping."""
    _check(seen)
    began = seen["switch"]["at_s"]
    return _longest(seen, [g for g in seen["gaps"] if g["at_s"] > began] or [{"length_ms": 0, "absent_ms": 0}])
