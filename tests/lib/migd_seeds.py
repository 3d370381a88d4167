# SPDX-License-Identifier: Apache-2.0
"""Seeds of the fuzz targets: where they are, and what they have in common."""

import os

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fuzz/corpus")
# The id of the migration, and of its handover, that targets know of (in-daemon.h); another one of fuzz-state-dir.c.
HEX = "00112233445566778899aabbccddeeff"
OTHER_HEX = "ffeeddccbbaa99887766554433221100"


def write(target, name, *parts):
    os.makedirs(os.path.join(CORPUS, target), exist_ok=True)
    with open(os.path.join(CORPUS, target, name), "wb") as f:
        f.write(b"".join(parts))
