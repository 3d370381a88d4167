# SPDX-License-Identifier: Apache-2.0
"""The guest's boot sector: assembled from guest/dirty.S, given its parameters, and wrapped into a firmware image."""
import os
import struct
import subprocess

SOURCES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guest")
WORK_START = 16 << 20  # PAYLOAD_WORK_GPA
PARAMETERS = 0x1F2  # in dirty.S
HEARTBEAT = 0x10008  # guest-physical, and the offset in the memory file


def assemble(name, origin, directory):
    """The bytes of guest/NAME.S as they lie in memory at ORIGIN."""
    base = os.path.join(directory, name)
    subprocess.run(["gcc", "-m32", "-c", "-x", "assembler-with-cpp", "-o", base + ".o",
                    os.path.join(SOURCES, name + ".S")], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", hex(origin), "-o", base + ".elf", base + ".o"], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", base + ".elf", base + ".bin"], check=True)
    with open(base + ".bin", "rb") as f:
        return f.read()


class Images:
    """The two forms of the guest, made once; a directory for the files."""

    def __init__(self, directory):
        self.directory = directory
        self.sector = assemble("dirty", 0x7C00, directory)
        self.rom = assemble("rom", 0, directory)
        if len(self.sector) != 512 or len(self.rom) != 65536:
            raise RuntimeError(f"the guest's images are {len(self.sector)} and {len(self.rom)} bytes, not 512 and 65536")

    def _sector_for(self, working_set):
        parameters = struct.pack("<II", WORK_START, WORK_START + working_set)
        return self.sector[:PARAMETERS] + parameters + self.sector[PARAMETERS + len(parameters):]

    def _write(self, name, data):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def boot_sector(self, working_set):
        """A file for migd-vmm; a working set of 0 bytes makes the idle guest."""
        return self._write(f"sector-{working_set}", self._sector_for(working_set))

    def firmware(self, working_set):
        """A file for QEMU's -bios: the same sector, and what starts it."""
        return self._write(f"firmware-{working_set}", self._sector_for(working_set) + self.rom[512:])
