# SPDX-License-Identifier: Apache-2.0
"""The disk below the files of saved guests: its sequential rates, and what it still has to write or may not remember."""
import mmap
import os
import threading
import time

CHUNK = 4 << 20
THREADS = 2


def make_durable(path):
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_cache(path):
    """Nothing of a durable file is left in the page cache."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _all_chunks(size, work):
    """WORK(offset, length) for every chunk of SIZE, by some threads (the calls wait outside the interpreter's lock)."""
    offsets = iter(range(0, size, CHUNK))
    lock = threading.Lock()
    failed = []

    def run():
        while True:
            with lock:
                at = next(offsets, None)
            if at is None or failed:
                return
            try:
                n = work(at, min(CHUNK, size - at))
                if n != min(CHUNK, size - at):
                    raise OSError(f"{n} bytes at {at}")
            except OSError as e:
                failed.append(e)

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def _gbps(size, began):
    return size / (time.monotonic() - began) / 1e9


def write_rate(contents, path, direct):
    """GB/s from memory until CONTENTS, a file in tmpfs, is durable on the disk as PATH, a new file."""
    size = os.stat(contents).st_size
    with open(contents, "rb") as f, mmap.mmap(f.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ) as data:
        view = memoryview(data)
        began = time.monotonic()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | (os.O_DIRECT if direct else 0), 0o600)
        try:
            _all_chunks(size, lambda at, n: os.pwrite(fd, view[at:at + n], at))
            os.fsync(fd)
            return _gbps(size, began)
        finally:
            os.close(fd)
            view.release()


def read_rate(path, direct):
    """GB/s of reading PATH, which is durable, from the disk into memory that is there already."""
    drop_cache(path)
    size = os.stat(path).st_size
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_DIRECT if direct else 0))
    own = threading.local()

    def read(at, n):
        if not hasattr(own, "buffer"):
            own.buffer = mmap.mmap(-1, CHUNK)
        return os.preadv(fd, [memoryview(own.buffer)[:n]], at)

    try:
        began = time.monotonic()
        _all_chunks(size, read)
        return _gbps(size, began)
    finally:
        os.close(fd)
