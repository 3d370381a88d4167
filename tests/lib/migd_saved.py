# SPDX-License-Identifier: Apache-2.0
"""A saved stream, read as QEMU's analyser reads one: by the description at its end, and by nothing else."""

import json
import struct

RAM_FLAGS = {"zero": 0x002, "size": 0x004, "page": 0x008, "eos": 0x010, "continue": 0x020}
PAGE = 4096


class Saved:
    """.description, .pages {(block, address): bytes or None for zeros}, .sections [(idstr, body)], .configuration.

    .cuts: where header, sections, RAM records and the end begin."""

    def __init__(self, data):
        self.data, self.at = data, 0
        self.pages, self.sections, self.block, self.cuts = {}, [], None, [0]
        self._describe()
        self._header()
        while self._section():
            pass
        if self._take(1) != b"\x06" or self._be(4) != len(self.json) or self._take(len(self.json)) != self.json:
            raise ValueError(f"no description behind the end mark at {self.at}")
        if self.at != len(data):
            raise ValueError("something follows the description")

    def _describe(self):
        """The analyser takes the last NUL byte, then the first brace."""
        start = self.data.index(b"{", self.data.rindex(b"\0"))
        self.json = self.data[start:]
        if self.data[start - 5] != 6 or struct.unpack(">I", self.data[start - 4:start])[0] != len(self.json):
            raise ValueError("the first brace is not the description's")
        self.description = json.loads(self.json)
        self.devices = {(d["name"], d["instance_id"]): d for d in self.description["devices"]}

    def _take(self, n):
        if self.at + n > len(self.data):
            raise ValueError("the stream ends early")
        self.at += n
        return self.data[self.at - n:self.at]

    def _be(self, n):
        return int.from_bytes(self._take(n), "big")

    def _str8(self):
        return self._take(self._be(1)).decode()

    def _header(self):
        if self._take(9) != b"QEVM\0\0\0\3\7":
            raise ValueError("no header")
        self.configuration = self._take(self._be(4)).decode()
        self._subsections(self.description["configuration"])

    def _fields(self, desc):
        """Walk a VMSD's bytes."""
        start = self.at
        for field in desc["fields"]:
            for _ in range(field.get("array_len", 1)):
                if "struct" in field:
                    self._fields(field["struct"])
                else:
                    self._take(field["size"])
        self._subsections(desc)
        return self.data[start:self.at]

    def _subsections(self, desc):
        for sub in desc.get("subsections", ()):
            if self._take(1) != b"\5" or self._str8() != sub["vmsd_name"] or self._be(4) != sub["version"]:
                raise ValueError(f"subsection {sub['vmsd_name']} is not at {self.at}")
            self._fields(sub)

    def _section(self):
        self.cuts.append(self.at)
        kind = self._be(1)
        if kind == 0:
            return False
        if kind == 8:
            if self._take(4) != b"\0\x0b\0\0":
                raise ValueError("a command that the analyser does not know")
            return True
        number, name, instance = self._be(4), "ram", 0
        if kind in (1, 4):
            name, instance, _ = self._str8(), self._be(4), self._be(4)
        if name == "ram":
            self._ram()
        else:
            self.sections.append((name, self._fields(self.devices[name, instance])))
        if self._take(1) != b"\x7e" or self._be(4) != number:
            raise ValueError(f"section {name}: no footer at {self.at}")
        return True

    def _ram(self):
        while True:
            self.cuts.append(self.at)
            word = self._be(8)
            flags, address = word & (PAGE - 1), word & ~(PAGE - 1)
            if flags == RAM_FLAGS["eos"]:
                return
            if flags == RAM_FLAGS["size"]:
                while address > 0:
                    self._str8()
                    address -= self._be(8)
                continue
            if not flags & RAM_FLAGS["continue"]:
                self.block = self._str8()
            kind = flags & ~RAM_FLAGS["continue"]
            if kind not in (RAM_FLAGS["zero"], RAM_FLAGS["page"]):
                raise ValueError(f"RAM record {word:#x}")
            self.pages[self.block, address] = self._take(PAGE) if kind == RAM_FLAGS["page"] else None
            if kind == RAM_FLAGS["zero"] and self._be(1) != 0:
                raise ValueError("a fill byte that is not 0")
