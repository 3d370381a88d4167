# SPDX-License-Identifier: Apache-2.0
"""A small disk, seen by this test's processes alone."""

import ctypes
import os

import migdtest

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def small_disk(t, size, at=None):
    """A tmpfs of this test's own mount namespace, over the directory `at`. Returns its path."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise migdtest.Skip("a mount namespace needs root")
    path = at or os.path.join(t.dir, "disk")
    os.makedirs(path, mode=0o700, exist_ok=True)
    if libc.mount(b"none", path.encode(), b"tmpfs", 0, f"size={size}".encode()) != 0:
        raise migdtest.Skip("mounting a tmpfs needs root")
    t.cleanup.callback(libc.umount2, path.encode(), 2)
    return path
