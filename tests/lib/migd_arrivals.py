# SPDX-License-Identifier: Apache-2.0
"""Hosts that start a VMM for a guest that is announced (docs/evacuation.md)."""

import json
import os

import migd_guestmem
import migd_process
import migd_shared
from migd_process import wait_until

HOOK = """#!/bin/sh
# $1: the guest; standard input: its description
set -e
cat > {dir}/$1.json
{before}
exec {vmm} --name "$1" --attach "$MIGD_ATTACH" --memory {memory} --cpus {cpus} --serial {dir}/$1.serial \\
    --memory-file {shm}/{host}-$1.ram --payload writer --payload-arg=working-set={working_set} {extra} >> {dir}/$1.log 2>&1
"""


class Arrived:
    """A guest whose VMM a hook started: as much of migd_process.Vmm as checks need."""

    def __init__(self, host, name):
        self.host, self.daemon, self.name = host, host.daemon, name
        self.label = f"arrived-{host.name}-{name}"
        self.proc = host.daemon.proc  # what a wait for it depends on
        path = host.memory_file(name)
        self.mem = migd_guestmem.GuestMem(path)

    def running(self):
        entry = self.daemon.guest(self.name)
        return bool(entry and entry["attached"])

    def command(self, name, arguments=None):
        return self.daemon.qmp.command(name, {"guest": self.name, **(arguments or {})})

    def run_state(self):
        return self.command("query-status")["status"]

    def log_text(self):
        with open(os.path.join(self.host.dir, self.name + ".log"), errors="replace") as f:
            return f.read()


class Host:
    """A daemon with a shared port and a hook. `before`: what the script does first; `extra`: VMM's options."""

    def __init__(self, t, name, before="", extra="--incoming", timeout=20, memory="64M", cpus=1, command=None, listen=None, working_set="4M",
                 daemon_extra=()):
        self.t, self.name = t, name
        self._uri = None
        self.dir = os.path.join(t.dir, name + "-arrivals")
        os.makedirs(self.dir, exist_ok=True)
        self.hook = os.path.join(self.dir, "start")
        self.working_set = working_set
        self.write_hook(before, extra, memory, cpus)
        config = os.path.join(self.dir, "migd.conf")
        with open(config, "w") as f:
            if command != "":
                f.write(f"[arrivals]\nstart-command = {command or self.hook}\nstart-timeout = {timeout}\n")
        self.extra = ("--config", config, "--listen", listen or "tcp:127.0.0.1:0", *daemon_extra)
        self.daemon = t.daemon(name, extra=self.extra)

    def write_hook(self, before="", extra="--incoming", memory="64M", cpus=1):
        text = HOOK.format(dir=self.dir, before=before, vmm=migd_process.program("migd-vmm"), memory=memory, cpus=cpus,
                           shm=self.t.shm, host=self.name, extra=extra, working_set=self.working_set)
        temporary = self.hook + ".new"
        with open(temporary, "w") as f:
            f.write(text)
        os.chmod(temporary, 0o755)
        os.rename(temporary, self.hook)

    def memory_file(self, name):
        return os.path.join(self.t.shm, f"{self.name}-{name}.ram")

    def uri(self):
        if self._uri is None:
            self._uri = f"tcp:127.0.0.1:{migd_shared.port(self.daemon)}"
        return self._uri

    def called_for(self, name):
        """The hook ran for this guest: its description, or None."""
        path = os.path.join(self.dir, name + ".json")
        if not os.path.exists(path):
            return None
        with open(path) as f:
            text = f.read()
        return json.loads(text) if text else None

    def arrived(self, name):
        return Arrived(self, name)

    def guests(self):
        """{name: entry} of those whose VMM is attached."""
        return {g["name"]: g for g in self.daemon.qmp.command("query-guests") if g["attached"]}

    def heralds(self):
        return [pid for pid in migd_process.children(self.daemon.pid)
                if migd_process.argv0(pid) == "migd-herald" and migd_process.is_running(pid)]

    def wait_quiet(self, *names):
        """No VMM of these is here, and nobody announces."""
        wait_until(lambda: not set(names) & set(self.guests()), f"{self.name} has none of {names}")
        wait_until(lambda: not self.heralds(), f"{self.name} hears nobody")
