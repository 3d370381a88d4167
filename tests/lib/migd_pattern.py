# SPDX-License-Identifier: Apache-2.0
"""Patterns in a named memory file: random, zero and hole pages, and what arrived of them elsewhere."""

import hashlib
import os
import random

PAGE = 4096
WORDS = ("guest ", "page ", "dirty ", "migrates ", "0x7f12", "stop\n", "run; ", "memory ")


def write(path, kind, seed=1):
    """
    Fill an existing file: "random", "text" (which compresses), "zero" (written zeros), "hole" (nothing), or "mixed": all but
    text, page by page.
    """
    size = os.path.getsize(path)
    rng = random.Random(seed)
    with open(path, "r+b") as f:
        for at in range(0, size, PAGE):
            what = kind if kind != "mixed" else rng.choice(["random", "random", "zero", "hole", "sparse"])
            if what == "random":
                page = rng.randbytes(PAGE)
            elif what == "text":
                page = "".join(rng.choices(WORDS, k=PAGE // 4)).encode()[:PAGE]
            elif what == "sparse":
                page = bytes(PAGE - 1) + b"\x01"
            elif what == "zero":
                page = bytes(PAGE)
            else:
                continue
            f.seek(at)
            f.write(page)


def digest(path):
    """SHA-256 of all of the file's bytes, holes as zeros."""
    with open(path, "rb") as f:  # read(), for a look at a hole through a mapping would fill it
        return hashlib.file_digest(f, "sha256").hexdigest()


def allocated(path):
    """Bytes that exist."""
    return os.stat(path).st_blocks * 512
