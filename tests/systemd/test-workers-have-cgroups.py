#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 120
"""Each worker in a cgroup of its own below one that was delegated to the daemon, with the limits of the configuration; and what
holds where there is none. Limits are checked where cgroup v2 has the controllers (the lab), the places wherever v2 is mounted."""

import os
import signal

import migdtest
from migd_process import wait_until

MOUNTS = "/sys/fs/cgroup", "/sys/fs/cgroup/unified"


def mounted():
    for path in MOUNTS:
        if os.path.exists(os.path.join(path, "cgroup.subtree_control")) and os.access(path, os.W_OK):
            return path
    raise migdtest.Skip("cgroup v2 is not mounted, or cannot be written to")


def put(path, text):
    with open(path, "w") as f:
        f.write(text)


def get(path):
    with open(path) as f:
        return f.read().strip()


def place(pid):
    return next(line[3:] for line in get(f"/proc/{pid}/cgroup").splitlines() if line.startswith("0::"))


class Delegated:
    """A cgroup as systemd delegates it: marked so, with every controller that there is."""

    def __init__(self, t, delegated=True):
        migdtest.need_root()
        self.mount = mounted()
        self.path = os.path.join(self.mount, os.path.basename(t.dir))
        os.mkdir(self.path)
        t.cleanup.callback(self.remove)
        if delegated:
            os.setxattr(self.path, "user.delegate", b"1")
        self.controllers = {c for c in get(os.path.join(self.mount, "cgroup.controllers")).split() if c in ("cpu", "memory", "io")}
        for c in self.controllers:
            put(os.path.join(self.mount, "cgroup.subtree_control"), f"+{c}")
        self.prefix = ["bash", "-c", 'echo 0 > "$0"; exec "$@"', os.path.join(self.path, "cgroup.procs")]

    def remove(self):
        for name in [*self.workers(), "daemon"]:
            if os.path.isdir(os.path.join(self.path, name)):
                os.rmdir(os.path.join(self.path, name))
        os.rmdir(self.path)

    def workers(self):
        return [n for n in os.listdir(self.path) if n.startswith("worker-")]

    def release(self):
        """What ExecStopPost= of the unit does: systemd could not start a daemon here else while workers go on."""
        for c in get(os.path.join(self.path, "cgroup.subtree_control")).split():
            put(os.path.join(self.path, "cgroup.subtree_control"), f"-{c}")


def config(t, **workers):
    path = os.path.join(t.dir, "migd.conf")
    put(path, "[workers]\n" + "".join(f"{k.replace('_', '-')} = {v}\n" for k, v in workers.items()))
    return "--config", path


def slow(t, **options):
    t.a = t.daemon("a", **options)
    t.b = t.daemon("b")
    src = t.vmm(t.a)
    dst = t.vmm(t.b, incoming=True)
    t.assert_runs(src)
    t.fill(src)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    return src, dst


def completes(t, src, dst):
    t.speed_up(src)
    for side in src, dst:
        t.check(t.wait_end(side)["status"] == "completed", f"{side.migration()}")
    t.assert_only_runs(dst, src)


def test_places(t):
    cgroup = Delegated(t)
    own = "/" + os.path.basename(cgroup.path)
    options = {"prefix": cgroup.prefix, "extra": config(t, cpu_weight=50, memory_max="1G", cpus="0")}
    src, dst = slow(t, **options)
    worker = src.worker()
    t.check(place(t.a.pid) == f"{own}/daemon", place(t.a.pid))
    name = cgroup.workers()
    t.check(len(name) == 1 and place(worker) == f"{own}/{name[0]}" and len(name[0]) == len("worker-") + 32, f"{name} {place(worker)}")
    t.check(os.sched_getaffinity(worker) == {0}, "its CPUs")
    if {"cpu", "memory"} <= cgroup.controllers:
        t.check(get(f"{cgroup.path}/{name[0]}/cpu.weight") == "50" and
                get(f"{cgroup.path}/{name[0]}/memory.max") == str(1 << 30), "the limits")
    else:
        t.check("'memory-max' of section [workers] does not hold" in t.a.log_text(), "it is told")
        print(f"cgroup v2 has only {cgroup.controllers} here: limits were not looked at")
    # The next daemon has the same, and the worker is where it was.
    t.a.drop_session()
    t.a.kill(signal.SIGKILL)
    cgroup.release()
    src.daemon = t.a = t.daemon("a", **options)
    src.wait_attached()
    wait_until(lambda: "took over" in t.a.log_text(), "the worker is found")
    t.check(place(t.a.pid) == f"{own}/daemon" and place(worker) == f"{own}/{name[0]}", "the places")
    if {"cpu", "memory"} <= cgroup.controllers:
        t.check(get(f"{cgroup.path}/{name[0]}/memory.max") == str(1 << 30), "the limits are set again")
    completes(t, src, dst)
    wait_until(lambda: not cgroup.workers(), "the worker's cgroup went with it")


def test_what_a_dead_daemon_left(t):
    cgroup = Delegated(t)
    os.mkdir(os.path.join(cgroup.path, "worker-" + "ab" * 16))
    t.daemon("a", prefix=cgroup.prefix, extra=config(t, cpu_weight=50))
    t.check(not cgroup.workers(), "it is removed")


def test_want_of_memory(t):
    cgroup = Delegated(t)
    if "memory" not in cgroup.controllers:
        raise migdtest.Skip("cgroup v2 has no controller memory here (the lab has)")
    src, dst = slow(t, prefix=cgroup.prefix, extra=config(t, memory_max="1G"))
    put(os.path.join(cgroup.path, cgroup.workers()[0], "memory.max"), "0")
    t.speed_up(src)
    text = t.assert_failed(src, "memory-max")
    print(text)
    t.assert_untouched(src)
    t.assert_only_runs(src, dst)
    wait_until(lambda: not cgroup.workers(), "the worker's cgroup is gone")


def test_without_delegation(t):
    cgroup = Delegated(t, delegated=False)
    src, dst = slow(t, prefix=cgroup.prefix, extra=config(t, cpu_weight=50, cpus="0"))
    t.check("no cgroup was delegated" in t.a.log_text(), "it is told, once")
    t.check(not cgroup.workers() and place(t.a.pid) == place(src.worker()) == "/" + os.path.basename(cgroup.path), "nothing moves")
    t.check(os.sched_getaffinity(src.worker()) == {0}, "its CPUs are a limit without cgroups, too")
    completes(t, src, dst)


if __name__ == "__main__":
    migdtest.main()
