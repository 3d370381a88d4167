# SPDX-License-Identifier: Apache-2.0
"""
Keeping this machine's free memory backed by its host.

In a virtual machine the first use of a page also faults in the host, which slows down whoever uses it by up to eight
times. Touching memory beforehand helps only until the kernel reports it as free again (free page reporting of virtio-balloon,
every two seconds): only whole 2 MiB blocks are reported, though. So the ballast touches memory and gives all of it
back but one page in 128: what is free then lies in smaller blocks, which stay backed, and which the kernel hands
out first.
"""
import ctypes
import os

from lib import memory

PAGE = 4096
KEEP_ONE_IN = 128  # pages: well below the 512 of a block, for a file's pages do not all lie in order
PUNCH_HOLE_KEEP_SIZE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_libc = ctypes.CDLL(None, use_errno=True)


def _punch(fd, at, length):
    if _libc.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(at), ctypes.c_long(length)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot punch a hole: {os.strerror(error)}")


class Ballast:
    """SIZE bytes of memory are touched once, and free again but for their 128th part, until the end of the `with`."""

    def __init__(self, directory, size):
        self.path = os.path.join(directory, "ballast")
        self.size = size

    def __enter__(self):
        try:
            memory.zero_file(self.path, self.size)
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                for at in range(0, self.size, KEEP_ONE_IN * PAGE):
                    _punch(fd, at + PAGE, (KEEP_ONE_IN - 1) * PAGE)
            finally:
                os.close(fd)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if os.path.exists(self.path):
            os.unlink(self.path)
