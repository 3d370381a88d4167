# SPDX-License-Identifier: Apache-2.0
"""Files in tmpfs that are guest RAM: with random, zero or no contents."""
import os

PAGE = 4096
MIB = 1 << 20
BLOCK = 16 * MIB
GUEST_OWN = MIB  # below it is what a VMM puts there to start the guest


def _write_all(fd, data, at):
    while data:
        n = os.pwrite(fd, data, at)
        data, at = data[n:], at + n


def _fill(path, size, extents, block):
    """A file of SIZE with holes but for EXTENTS, [(at, length)]; BLOCK(n) makes n bytes of contents."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size)
        for at, length in extents:
            for done in range(0, length, BLOCK):
                _write_all(fd, memoryview(block(min(BLOCK, length - done))), at + done)
    finally:
        os.close(fd)
    return path


def random_file(path, size):
    """Every page allocated, incompressible."""
    return _fill(path, size, [(0, size)], os.urandom)


def _records(n):
    """N bytes like a program's data: small numbers, pointers that differ in their low bytes, words; 1 in 4 is noise."""
    noise = os.urandom(n // 4)
    record = bytearray(64)
    out = bytearray()
    for i in range(n // 64):
        record[0:8] = (0x7F3A00000000 + i * 64).to_bytes(8, "little")
        record[8:16] = (i % 1000).to_bytes(8, "little")
        record[16:32] = noise[i * 16:i * 16 + 16]
        record[32:64] = b"name=%-12d state=running  " [:32] % (i % 5000)
        out += record[:64]
    return bytes(out[:n])


def text_file(path, size):
    """Every page allocated and different, compressible to about a third."""
    block = _records(BLOCK)
    return _fill(path, size, [(0, size)], lambda n: block[:n])


def zero_file(path, size):
    """Every page allocated, all zero: what a guest leaves that zeroes its memory at boot."""
    zeros = bytes(BLOCK)
    return _fill(path, size, [(0, size)], lambda n: zeros[:n])


def hole_file(path, size):
    return _fill(path, size, [], None)


def scattered_file(path, size, used, extent=2 * MIB):
    """Random in USED bytes, in extents spread evenly over SIZE; the rest was never touched."""
    n = used // extent
    step = size // n // extent * extent
    return _fill(path, size, [(i * step, extent) for i in range(n)], os.urandom)


def allocated(path):
    return os.stat(path).st_blocks * 512


def _extents(fd, size):
    """[(start, end)] of what is allocated."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at


def copy_contents(source, target):
    """Give TARGET, as large as SOURCE, its contents above GUEST_OWN; holes stay holes."""
    with open(source, "rb", buffering=0) as a, open(target, "r+b", buffering=0) as b:
        for first, end in _extents(a.fileno(), os.stat(source).st_size):
            at = max(first, GUEST_OWN)
            while at < end:
                at += os.copy_file_range(a.fileno(), b.fileno(), min(BLOCK, end - at), at, at)


def first_difference(source, target, stride=17 * PAGE):
    """The offset of a page of SOURCE above GUEST_OWN that TARGET has otherwise, or None. Looks at one page in 17."""
    size = os.stat(source).st_size
    with open(source, "rb", buffering=0) as a, open(target, "rb", buffering=0) as b:
        for first, end in _extents(a.fileno(), size):
            for at in range(max(first, GUEST_OWN), end, stride):
                if os.pread(a.fileno(), PAGE, at) != os.pread(b.fileno(), PAGE, at):
                    return at
    return None


def available():
    """Bytes that can be allocated without hurting anybody."""
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable")) << 10
