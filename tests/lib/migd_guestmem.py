# SPDX-License-Identifier: Apache-2.0
"""A guest's memory seen from outside: the result page of the built-in payloads (vmm/payload-abi.h)."""

import mmap
import os
import struct
import time

MAGIC = 0x444C5950
RESULT_GPA = 0x10000
MAX_VCPUS = 64
STARTING, RUNNING, FAILED, PASSED = range(4)


class GuestMem:
    """A mapping of the VMM's --memory-file. It outlives the VMM, and shows what the guest last wrote."""

    def __init__(self, path):
        fd = os.open(path, os.O_RDWR)
        try:
            self.map = mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED)
        finally:
            os.close(fd)

    def close(self):
        self.map.close()

    def _word(self, offset, fmt="<Q"):
        return struct.unpack_from(fmt, self.map, RESULT_GPA + offset)[0]

    magic = property(lambda self: self._word(0, "<I"))
    status = property(lambda self: self._word(4, "<I"))
    heartbeat = property(lambda self: self._word(8))
    checks = property(lambda self: self._word(16))
    failures = property(lambda self: self._word(24))

    def detail(self, i):
        return self._word(32 + 8 * i)

    def vcpu_beat(self, i):
        return self._word(224 + 8 * i)

    @property
    def text(self):
        raw = bytes(self.map[RESULT_GPA + 96:RESULT_GPA + 224])
        return raw.split(b"\0")[0].decode("ascii", "replace")

    def describe(self):
        return (f"magic={self.magic:#x} status={self.status} heartbeat={self.heartbeat} checks={self.checks} "
                f"failures={self.failures} detail={[self.detail(i) for i in range(8)]} text={self.text!r}")

    def longest_gap(self, seconds, until=lambda: False):
        """Watch the heartbeat until `until()` and then `seconds` more; the longest time it stood still, in seconds."""
        last, at, longest, end = self.heartbeat, time.monotonic(), 0.0, None
        while True:
            beat, now = self.heartbeat, time.monotonic()
            if beat != last:
                longest, last, at = max(longest, now - at), beat, now
            if end is None and until():
                end = now + seconds
            if end is not None and now > end:
                return max(longest, now - at)
            time.sleep(0.0002)
