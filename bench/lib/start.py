# SPDX-License-Identifier: Apache-2.0
"""From exec to READY=1, which a daemon says once it serves: with nothing to take over, and with the state of many guests."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

from lib import host, stats

STARTS = 15
GUESTS = 100
TIMEOUT_S = 60


def start_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return int(f.read().rpartition(")")[2].split()[19])


def waiting_migration(number):
    """The journal of a migration that waits for its turn, of a guest whose VMM (this process) still runs."""
    return {"version": 1, "id": f"{number:032x}", "guest": f"g{number}", "outgoing": True, "exit-on-error": False,
            "uri": "tcp:127.0.0.1:1", "handover-id": f"{number:032x}", "listen": "", "worker-pid": 0, "worker-start-time": 0,
            "vmm-pid": os.getpid(), "vmm-start-time": start_time(os.getpid()), "waits": True, "arrival": number}


class Start(host.HostScenario):
    guests = 0

    def start(self, directory):
        """One daemon, begun and ended; milliseconds until it was ready."""
        path = os.path.join(directory, "notify")
        argv = [self.context.programs["migd"], "--qmp", f"{directory}/qmp", "--attach", f"{directory}/attach",
                "--state-dir", f"{directory}/state", "--log-level", "err", "--foreground"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(TIMEOUT_S)
            began = time.monotonic()
            with subprocess.Popen(argv, env={**os.environ, "NOTIFY_SOCKET": path}, stderr=subprocess.DEVNULL) as daemon:
                try:
                    while not notify.recv(8192).startswith(b"READY=1"):
                        pass
                    return (time.monotonic() - began) * 1000
                finally:
                    daemon.terminate()
                    daemon.wait(TIMEOUT_S)
                    os.unlink(path)

    def ours(self):
        directory = tempfile.mkdtemp(prefix="start-", dir=self.context.directory)
        try:
            journals = os.path.join(directory, "state", "migrations")
            os.makedirs(journals)
            for number in range(1, self.guests + 1):
                with open(os.path.join(journals, f"{number:032x}.json"), "w", encoding="ascii") as f:
                    json.dump(waiting_migration(number), f)
            return {"ready_ms": stats.median([self.start(directory) for _ in range(STARTS)])}
        finally:
            shutil.rmtree(directory)


class StartWithGuests(Start):
    guests = GUESTS
