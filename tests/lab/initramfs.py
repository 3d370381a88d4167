# SPDX-License-Identifier: Apache-2.0
"""Makes an initramfs with one static program, in cpio's "newc" format (Linux, Documentation/driver-api/early-userspace)."""

import os
import stat
import subprocess
import tempfile


def _entry(name, mode, data=b"", device=(0, 0)):
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def make(source, path):
    """Compile a C source as /init of a new initramfs."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "init")
        subprocess.run([os.environ.get("CC", "cc"), "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source],
                       check=True)
        with open(program, "rb") as f:
            init = f.read()
    image = (_entry("dev", stat.S_IFDIR | 0o755) + _entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)) +
             _entry("init", stat.S_IFREG | 0o755, init) + _entry("TRAILER!!!", 0))
    with open(path + ".partial", "wb") as f:
        f.write(image)
    os.rename(path + ".partial", path)
