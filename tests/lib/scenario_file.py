# SPDX-License-Identifier: Apache-2.0
"""What scenarios of migration to a file at an offset share."""

OFFSET = 0x1000
MAGIC = b"QEVM"


def fill_head(path):
    with open(path, "wb") as f:
        f.write(b"X" * OFFSET)


def check_head(s, path):
    """What was before the offset is still there, and the stream begins at it."""
    with open(path, "rb") as f:
        data = f.read(OFFSET + len(MAGIC))
    s.check(data[:OFFSET] == b"X" * OFFSET, "what was before the offset was changed")
    s.check(data[OFFSET:] == MAGIC, f"at the offset is {data[OFFSET:]!r}")
