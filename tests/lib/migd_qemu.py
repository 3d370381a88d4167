# SPDX-License-Identifier: Apache-2.0
"""A RAM-only QEMU (-M none) as the other end of a migration. Its memory is a named file."""

import os
import re
import subprocess

import migd_process
import migd_qmp
from migd_process import wait_until

VERSIONS = ("7.2", "10.0")
BLOCK = "r0"


def program(version):
    """(path, None), or (None, why it cannot be used here)."""
    top = os.path.join(os.environ.get("MIGD_QEMU_DIR") or os.path.join(migd_process.SOURCE_DIR, "build", "qemu"), version)
    path = os.path.join(top, "usr/bin/qemu-system-x86_64")
    if not os.access(path, os.X_OK):
        return None, f"QEMU {version} is not in {top}: run scripts/fetch-qemu"
    out = subprocess.run([path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    found = re.search(r"version (\d+\.\d+)\.", out)
    if not found or found[1] != version:
        return None, f"QEMU {version} does not start ({out.strip()[:200]!r}): run scripts/install-deps"
    return path, None


class Qemu(migd_process.Process):
    """`incoming`: waits for migrate-incoming. `stopped`: does not run (a source that was stopped)."""

    def __init__(self, test, version, memory="16M", incoming=False, stopped=False, capabilities=(), extra=(), netns=None):
        path, why = program(version)
        if not path:
            raise AssertionError(why)
        self.version = version
        label = f"qemu-{version}-{'dst' if incoming else 'src'}"
        generation = test.count(label)
        label += f"-{generation}" if generation else ""
        self.memory_file = os.path.join(test.shm, label + ".ram")
        with open(self.memory_file, "wb") as f:
            f.truncate(int(memory[:-1]) << 20)
        qmp_path = os.path.join(test.dir, label + ".qmp")
        super().__init__(test, label, [
            path, "-L", os.path.join(os.path.dirname(path), "../share/qemu"), "-accel", "kvm", "-M", f"none,memory-backend={BLOCK}", "-m", memory,
            "-object", f"memory-backend-file,id={BLOCK},size={memory},mem-path={self.memory_file},share=on",
            "-nodefaults", "-display", "none", "-qmp", f"unix:{qmp_path},server=on,wait=off",
            *(["-incoming", "defer"] if incoming else []), *(["-S"] if stopped else []), *extra], netns=netns)
        wait_until(lambda: self._connect(qmp_path), f"{label} answers on its QMP socket", alive=[self])
        self.set_capabilities(**{"events": True, **dict(capabilities)})

    def _connect(self, path):
        try:
            self.qmp = migd_qmp.Qmp(path)
        except OSError:
            return False
        self.test.cleanup.callback(self.qmp.close)
        return True

    def set_capabilities(self, **on):
        self.command("migrate-set-capabilities", {
            "capabilities": [{"capability": c.replace("_", "-"), "state": s} for c, s in on.items()]})

    def command(self, name, arguments=None):
        return self.qmp.command(name, arguments)

    def migration(self):
        return self.command("query-migrate")

    def run_state(self):
        return self.command("query-status")["status"]

    def listen(self, uri):
        """migrate-incoming; the URI under which it is found."""
        self.command("migrate-incoming", {"uri": uri})
        if not uri.startswith("tcp:"):
            return uri
        address = wait_until(lambda: self.migration().get("socket-address"), f"{self.label} says its address")[0]
        return f"tcp:{address['host']}:{address['port']}"
