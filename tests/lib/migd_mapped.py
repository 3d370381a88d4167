# SPDX-License-Identifier: Apache-2.0
"""Where a mapped-ram file has what of its first block, to look at, and to damage."""

import os
import struct

import migdtest

PAGE = 4096
HEADER = struct.Struct(">IQQQ")


def need_direct_io(t):
    """Some file systems have no O_DIRECT."""
    try:
        os.close(os.open(os.path.join(t.dir, "direct"), os.O_CREAT | os.O_WRONLY | os.O_DIRECT, 0o600))
    except OSError as e:
        raise migdtest.Skip(f"the file system of {t.dir} has no O_DIRECT: {e}") from None


class Mapped:
    """.version, .page_size, .bitmap_offset, .pages_offset of the block .name; .length, and .at: where its entry and header are."""

    def __init__(self, path, offset=0):
        self.path = path
        with open(path, "rb") as f:
            f.seek(offset)
            head = f.read(4096)
        at = head.index(b"\3ram") + 4 + 8  # instance and version follow
        self.total = struct.unpack_from(">Q", head, at)[0] & ~(PAGE - 1)
        at += 8
        self.entry = offset + at
        self.name = head[at + 1:at + 1 + head[at]].decode()
        at += 1 + head[at]
        self.length = struct.unpack_from(">Q", head, at)[0]
        self.header = offset + at + 8
        self.version, self.page_size, self.bitmap_offset, self.pages_offset = HEADER.unpack_from(head, at + 8)
        self.end = self.pages_offset + self.length

    def bitmap(self):
        with open(self.path, "rb") as f:
            f.seek(self.bitmap_offset)
            return int.from_bytes(f.read((self.length // PAGE + 63) // 64 * 8), "little")

    def page(self, number):
        """What the file says that the page is."""
        if not self.bitmap() >> number & 1:
            return bytes(PAGE)
        with open(self.path, "rb") as f:
            f.seek(self.pages_offset + number * PAGE)
            return f.read(PAGE)

    def write(self, at, data):
        with open(self.path, "r+b") as f:
            f.seek(at)
            f.write(data)

    def put_header(self, **fields):
        names = ("version", "page_size", "bitmap_offset", "pages_offset")
        self.write(self.header, HEADER.pack(*(fields.get(n, getattr(self, n)) for n in names)))
