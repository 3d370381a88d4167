#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A page that is damaged at the source is neither read nor sent, and arrives damaged: not as zeros, and not by killing anybody."""

import ctypes
import errno
import os
import sys

import migdtest

PAGE = 4096
AT = 40 << 20
BEFORE = AT - PAGE
_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def host_address(vmm, gpa):
    """Where the VMM has this address of the guest. Its mapping may be in several pieces."""
    with open(f"/proc/{vmm.pid}/maps", encoding="utf-8") as f:
        for line in f:
            words = line.split()
            if words[-1] != vmm.memory_file:
                continue
            start, end = (int(w, 16) for w in words[0].split("-"))
            offset = int(words[2], 16)
            if offset <= gpa < offset + end - start:
                return start + gpa - offset
    raise AssertionError(f"{vmm.label} does not map its memory at {gpa:#x}")


def read_as_vmm(vmm, gpa):
    """A byte as the VMM itself would read it, or the errno."""
    byte = ctypes.create_string_buffer(1)
    local = _Iovec(ctypes.cast(byte, ctypes.c_void_p), 1)
    remote = _Iovec(host_address(vmm, gpa), 1)
    if _libc.process_vm_readv(vmm.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) < 0:
        return errno.errorcode[ctypes.get_errno()]
    return byte.raw


def begin(t):
    src, dst = t.pair(payload="idle", extra=("--poison", str(AT)), dst_changes={"extra": ()})
    t.check(read_as_vmm(src, AT) == "EFAULT", "the page is damaged at the source")
    src.mem.map[BEFORE:BEFORE + 3 * PAGE] = b"p" * 3 * PAGE  # the file has contents there: nobody must look
    return src, dst


def check_damaged(t, vmm):
    t.check(read_as_vmm(vmm, AT) == "EFAULT", f"the page is damaged in {vmm.label}, too")
    t.check(read_as_vmm(vmm, BEFORE) == b"p" and read_as_vmm(vmm, AT + PAGE) == b"p", "its neighbours are not")
    t.check(vmm.mem.map[AT:AT + PAGE] == bytes(PAGE), "what the page held was not sent")


def test_arrives_damaged(t):
    src, dst = begin(t)
    t.migrate(src, dst)
    check_damaged(t, dst)


def test_there_and_back(t):
    """The list goes along: the next migration has it from the target's library."""
    src, dst = begin(t)
    t.migrate(src, dst)
    src.wait_exit()
    back = t.incoming(t.a, t.options, extra=())
    dst.mem.map[AT:AT + PAGE] = b"q" * PAGE
    t.migrate(dst, back)
    check_damaged(t, back)


def supported():
    """UFFDIO_POISON, from Linux 6.6 on."""
    major, minor = (int(w) for w in os.uname().release.split(".")[:2])
    return (major, minor) >= (6, 6)


if not supported():
    print(f"Linux {os.uname().release} has no UFFDIO_POISON (6.6): memory cannot be poisoned without privileges")
    sys.exit(77)
migdtest.main()
