# SPDX-License-Identifier: Apache-2.0
"""Ours: two daemons and two reference VMMs."""
import os
import time

from lib import memory, pair, proc

PROGRAMS = ("migd", "migd-vmm")
WORKER = "migd-worker"
ATTACH_TIMEOUT_S = 20


class MigdPair(pair.Pair):
    """
    The guest is the boot sector on both kinds of load: with an empty working set it halts. migd-vmm starts on an empty
    memory file, so its guest gets its memory's contents once it runs.
    """

    def __init__(self, spec, images, directory, programs):
        super().__init__(spec, images, directory)
        self.programs = programs
        self.daemons = []
        self.source_ram = f"{directory}/source.ram"

    def _start_daemon(self, name):
        base = f"{self.directory}/{name}"
        os.makedirs(f"{base}.state", exist_ok=True)
        process = self.run(f"migd-{name}", [
            self.programs["migd"], "--qmp", f"{base}.qmp", "--attach", f"{base}.attach",
            "--state-dir", f"{base}.state", "--foreground"])
        self.daemons.append(process)
        session = self.connect(f"{base}.qmp", f"migd's {name}", process)
        return session

    def _start_vmm(self, name, ram, more):
        return self.run(f"vmm-{name}", [
            self.programs["migd-vmm"], "--name", "bench", "--attach", f"{self.directory}/{name}.attach",
            "--memory", f"{self.spec.memory >> 20}M", "--cpus", "1", "--memory-file", ram] + more)

    def _wait_attached(self, session, vmm):
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        while not any(g["attached"] for g in session.execute("query-guests")):
            words = vmm.last_words()
            if words is not None:
                raise pair.MigrationError(f"migd-vmm ended, {words}")
            if time.monotonic() > deadline:
                raise pair.MigrationError(f"{session.name}: no guest attached within {ATTACH_TIMEOUT_S} s\n{self.logs()}")
            time.sleep(0.02)

    def start(self):
        sector = self.images.boot_sector(self.spec.working_set, self.spec.guest)
        self.source = self._start_daemon("source")
        self.target = self._start_daemon("target")
        vmms = (self._start_vmm("source", self.source_ram, ["--boot-sector", sector]),
                self._start_vmm("target", self.spec.target_ram, ["--incoming"]))
        for session, vmm in zip((self.source, self.target), vmms):
            self._wait_attached(session, vmm)
            self.configure(session, "source" if session is self.source else "target")
        memory.copy_contents(self.spec.contents, self.source_ram)

    def workers(self):
        return {pid: d.pid for d in self.daemons for pid in proc.children(d.pid) if proc.argv0(pid) == WORKER}

    def daemon(self):
        return self.daemons[0].pid
