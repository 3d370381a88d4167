# SPDX-License-Identifier: Apache-2.0
"""The guests' boot sectors: assembled from guest/*.S, given their parameters, and wrapped into a firmware image."""
import os
import struct
import subprocess
import time

SOURCES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guest")
WORK_START = 16 << 20  # PAYLOAD_WORK_GPA
PAGE = 4096
PARAMETERS = 0x1F2  # in sector.h
HEARTBEAT = 0x10008  # guest-physical, and the offset in the memory file
CLOCK, TICKS = 0x10080, 0x10100  # likewise, of random.S
PARTS = 16  # of a power of two of clock ticks
N_COUNTS = PARTS * 28 + PARTS  # the last is of ticks from 31 << 27 on


def assemble(name, origin, directory):
    """The bytes of guest/NAME.S as they lie in memory at ORIGIN."""
    base = os.path.join(directory, name)
    subprocess.run(["gcc", "-m32", "-c", "-x", "assembler-with-cpp", "-o", base + ".o",
                    os.path.join(SOURCES, name + ".S")], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", hex(origin), "-o", base + ".elf", base + ".o"], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", base + ".elf", base + ".bin"], check=True)
    with open(base + ".bin", "rb") as f:
        return f.read()


def _between(working_set):
    return struct.pack("<II", WORK_START, WORK_START + working_set)


def _pages(working_set):
    n = working_set // PAGE
    return struct.pack("<III", WORK_START, n, (1 << (n - 1).bit_length()) - 1)


GUESTS = {"dirty": _between, "random": _pages}  # what each takes as parameters


class Images:
    """The two forms of each guest, made once; a directory for the files."""

    def __init__(self, directory):
        self.directory = directory
        self.sectors = {name: assemble(name, 0x7C00, directory) for name in GUESTS}
        self.rom = assemble("rom", 0, directory)
        for name, image, length in (*((name, sector, 512) for name, sector in self.sectors.items()), ("rom", self.rom, 65536)):
            if len(image) != length:
                raise RuntimeError(f"the guest's image '{name}' is {len(image)} bytes, not {length}")

    def _sector_for(self, name, working_set):
        sector, parameters = self.sectors[name], GUESTS[name](working_set)
        return sector[:PARAMETERS] + parameters + sector[PARAMETERS + len(parameters):]

    def _write(self, name, data):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def boot_sector(self, working_set, name="dirty"):
        """A file for migd-vmm; a working set of 0 bytes makes the idle guest."""
        return self._write(f"sector-{name}-{working_set}", self._sector_for(name, working_set))

    def firmware(self, working_set, name="dirty"):
        """A file for QEMU's -bios: the same sector, and what starts it."""
        return self._write(f"firmware-{name}-{working_set}", self._sector_for(name, working_set) + self.rom[512:])


def _read(ram, form, at):
    with open(ram, "rb", buffering=0) as f:
        return struct.unpack(form, os.pread(f.fileno(), struct.calcsize(form), at))


def heartbeat(ram):
    """How often the loaded guest went round so far."""
    return _read(ram, "<I", HEARTBEAT)[0]


def clock_hz(ram, over_s=0.2):
    """The rate of the clock by which random.S counts; it must run."""
    (first,), began = _read(ram, "<Q", CLOCK), time.monotonic()
    time.sleep(over_s)
    (last,), ended = _read(ram, "<Q", CLOCK), time.monotonic()
    return (last - first) / (ended - began)


def tick_counts(ram):
    """How many of random.S's accesses took how long, by the numbers that it gives to lengths."""
    return _read(ram, f"<{N_COUNTS}I", TICKS)


def ticks_of(number):
    """The middle of the lengths that have this number, in clock ticks."""
    shift = max(number // PARTS - 1, 0)
    return (number - PARTS * shift + 0.5) * (1 << shift)


def longest_accesses(before, after, n):
    """The lengths in clock ticks of the N accesses that took longest between two tick_counts(), shortest first."""
    out = []
    for number in range(N_COUNTS - 1, -1, -1):
        out += [ticks_of(number)] * min(after[number] - before[number], n - len(out))
    return out[::-1]
