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


def longest_gap(seen, since_s):
    """(length, absent) in ms of the longest gap that ended after SINCE; WatchError if the target never ran."""
    if not seen["switched"]:
        raise WatchError("the guest's counter never went ahead on the target: it does not run there")
    gaps = [g for g in seen["gaps"] if g["at_s"] + g["length_ms"] / 1e3 >= since_s]
    if seen["dropped"] or not gaps:
        raise WatchError(f"gapwatch kept {len(gaps)} gaps and dropped {seen['dropped']}: no blackout can be told")
    longest = max(gaps, key=lambda g: g["length_ms"])
    return longest["length_ms"], longest["absent_ms"]
