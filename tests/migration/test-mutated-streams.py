#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Broken copies of recorded streams: the worker lives, the daemon lives, and says what is wrong, and where.

MIGD_MUTATIONS: how many of each stream (32); MIGD_SEED: another choice of them.
"""

import os
import re
import socket
import threading
import time

import migd_mutate
import migd_pattern
import migd_saved
import migdtest
from migd_process import SLOW, wait_until

COUNT = int(os.environ.get("MIGD_MUTATIONS", "32"))
SEED = int(os.environ.get("MIGD_SEED", "1"))
# The offset in the stream, the section by name, or what of the guest differs.
PLACE = re.compile(r"offset \d+|section '| at the source")

HEARD_S = 0.3  # what is cut off in the opening is not heard until it is over


def send(port, data, is_heard):
    """Send all, as far as it is taken, and read what is answered until the end."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(10 * SLOW)

        def drain():
            try:
                while peer.recv(65536):
                    pass
            except OSError:
                pass

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        try:
            peer.sendall(data)
            # A migd that hangs up before the destination has its turn has left, and nothing of what it sent is looked at.
            deadline = time.monotonic() + HEARD_S * SLOW
            while not is_heard() and time.monotonic() < deadline:
                time.sleep(0.01)
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # reset: it was refused before all was sent
        reader.join(10 * SLOW)


def judged(vmm):
    """Refused at the door (it listens on, and says why), failed, or taken."""
    info = vmm.migration()
    loaded = info.get("handover", {}).get("state") in ("loaded", "running")
    return info if info.get("error-desc") or info.get("status") in migdtest.ENDED or loaded else None


def deliver(t, daemon, what, data, number, **options):
    """One broken stream to a guest of its own. Returns its query-migrate."""
    vmm = t.vmm(daemon, name=f"g{number}", payload=None, incoming=True, **options)
    port = int(t.listen(vmm).rpartition(":")[2])
    size = os.path.getsize(vmm.memory_file)
    send(port, data, lambda: vmm.status() != "setup" or vmm.migration().get("error-desc"))
    info = wait_until(lambda: judged(vmm), f"the end of: {what}", alive=[daemon])
    log = daemon.log_text()
    t.check("worker died" not in log and "Sanitizer" not in log, f"the worker died of: {what}")
    t.check(os.path.getsize(vmm.memory_file) == size, f"the memory grew by: {what}")
    text = info.get("error-desc", "")
    t.check(not text or PLACE.search(text), f"{text!r} does not say where: {what}")
    vmm.kill()
    return info


def bombard(t, daemon, parts, **options):
    whole = deliver(t, daemon, "the whole stream", b"".join(parts), "whole", **options)
    t.check(not whole.get("error-desc"), f"the stream itself is taken: {whole}")
    failed = 0
    for number, (what, data) in enumerate(migd_mutate.mutations(parts, COUNT, SEED)):
        failed += bool(deliver(t, daemon, what, data, number, **options).get("error-desc"))
    t.check(failed >= COUNT // 2, f"only {failed} of {COUNT} were found out")
    t.check(daemon.running(), "the daemon lives")


def record(t, src, dst):
    """The messages of a migration between two migds, up to the package's end."""
    parts, begun = [], []
    over = threading.Event()

    def keep(direction, piece, name):
        if direction != "out" or over.is_set():
            return
        begun.append(piece)
        if name == "cmd-commit":
            over.set()
        elif name:
            parts.append(b"".join(begun))
            begun.clear()

    link = t.proxy(int(t.listen(dst).rpartition(":")[2]))
    link.record = keep
    src.command("migrate", {"uri": link.uri})
    t.check(t.wait_end(src)["status"] == "completed", f"the migration to be recorded: {src.migration()}")
    return parts


def test_between_two_migds(t):
    src, dst = t.pair(memory="16M", payload="idle", started=False)
    bombard(t, t.b, record(t, src, dst), memory="16M")


def test_one_that_was_saved(t):
    daemon = t.daemon("a")
    src = t.vmm(daemon, memory="16M", ram_only="ram")
    with open(src.memory_file, "r+b") as f:
        f.write(b"\1" * (3 * migd_pattern.PAGE))
    src.command("migrate", {"uri": f"file:{t.dir}/saved"})
    t.check(t.wait_end_of(src)["status"] == "completed", f"saving: {src.migration()}")
    with open(f"{t.dir}/saved", "rb") as f:
        saved = migd_saved.Saved(f.read())
    cuts = saved.cuts + [len(saved.data)]
    parts = [saved.data[a:b] for a, b in zip(cuts, cuts[1:])]
    bombard(t, daemon, parts, memory="16M", ram_only="ram")


migdtest.main()
