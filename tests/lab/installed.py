# SPDX-License-Identifier: Apache-2.0
"""In the lab, under systemd: the installed packages, their daemon, a second one beside it, and VMMs of another user.

outside(): makes the packages. install(), then host(t): (a, b), two Services for t's Vmms.
"""

import glob
import json
import os
import pwd
import re
import shutil
import signal
import subprocess

import inside
import migdtest
from migd_process import BUILD_DIR, SOURCE_DIR, SLOW, Vmm, wait_until
from migd_qmp import Qmp

PACKAGES = os.path.join(SOURCE_DIR, "build", "package")
NEWER = os.path.join(os.path.abspath(BUILD_DIR), "newer-packages")
NEWER_VERSION = "0.1.0+newer"
VMM_USER = "vmmuser"
SECOND = "migd-b"  # another instance of the unit, with directories of its own


def run(*argv, check=True, **options):
    """Its output; both streams."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}")
    return done.stdout.strip()


def make_newer(package):
    """The same package with a higher version."""
    with_name = os.path.join(NEWER, os.path.basename(package))
    tree = with_name + ".tree"
    run("dpkg-deb", "-R", package, tree)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control) as f:
        text = re.sub(r"^Version: .*$", f"Version: {NEWER_VERSION}", f.read(), flags=re.M)
    with open(control, "w") as f:
        f.write(text)
    run("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, with_name)
    shutil.rmtree(tree)


def outside():
    """Make the packages that the lab installs; in the lab, nothing."""
    if os.environ.get("MIGD_LAB"):
        return
    print(run(os.path.join(SOURCE_DIR, "scripts", "package")).splitlines()[-1])
    shutil.rmtree(NEWER, ignore_errors=True)
    os.makedirs(NEWER)
    make_newer(package_file("migd"))


def package_file(name, folder=PACKAGES):
    path, = glob.glob(os.path.join(folder, f"{name}_*.deb"))
    return path


def apt(*argv):
    print("apt-get", *argv, flush=True)
    return run("apt-get", "-q", "-y", *argv, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, timeout=900)


def install():
    """The packages, once a boot; a user for VMMs."""
    if not os.path.exists("/usr/sbin/migd"):
        apt("install", package_file("migd"), package_file("migd-vmm"))
    try:
        pwd.getpwnam(VMM_USER)
    except KeyError:
        run("useradd", "--system", "--no-create-home", "--groups", "kvm", VMM_USER)


def properties(unit, *names):
    return dict(line.split("=", 1) for line in run("systemctl", "show", unit, "-p", ",".join(names)).splitlines())


class Service:
    """An installed migd that systemd runs: what the tests' Vmm and Test need of a Daemon."""

    def __init__(self, name="migd"):
        self.name = self.label = name
        self.unit = name + ".service"
        self.qmp_path, self.attach_path = f"/run/{name}/qmp", f"/run/{name}/attach"
        self.state_dir = f"/var/lib/{name}"
        self.proc = self
        self._qmp = None
        self.started = run("date", "+%F %T")

    pid = property(lambda self: int(properties(self.unit, "MainPID")["MainPID"]))
    returncode = property(lambda self: properties(self.unit, "Result")["Result"])

    def poll(self):
        """As subprocess.Popen's: None while it is up or about to be."""
        return None if properties(self.unit, "ActiveState")["ActiveState"] in ("active", "activating", "reloading") else 1

    @property
    def qmp(self):
        """A session with whoever is the daemon now."""
        if self._qmp is None or self._qmp.peer != self.pid:
            self.drop_session()
            wait_until(lambda: self.poll() is None and self.pid, f"{self.name} runs", 60)
            self._qmp = Qmp(self.qmp_path, timeout=20 * SLOW)
            self._qmp.peer = self.pid
        return self._qmp

    def drop_session(self):
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None

    def guest(self, name):
        return next((entry for entry in self.qmp.command("query-guests") if entry["name"] == name), None)

    def journal(self):
        """Its entries since this object was made: dictionaries."""
        lines = run("journalctl", "-o", "json", "--all", "-u", self.unit, "--since", self.started).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def log_text(self):
        return "\n".join(str(entry.get("MESSAGE")) for entry in self.journal())

    def replaced(self, old_pid):
        """Wait until another process is the daemon."""
        wait_until(lambda: self.pid not in (0, old_pid) and self.poll() is None, f"systemd starts {self.name} again", 60)
        self.drop_session()


def second_unit():
    """Another instance beside the packaged one: the same lines, other directories, no socket units."""
    with open("/usr/lib/systemd/system/migd.service") as f:
        text = f.read()
    text = re.sub(r"^(Sockets=|Also=).*\n", "", text, flags=re.M)
    text = text.replace("/var/lib/migd", f"/var/lib/{SECOND}")
    text = text.replace(" --foreground", f" --qmp /run/{SECOND}/qmp --attach /run/{SECOND}/attach --foreground")
    text = re.sub(r"^(RuntimeDirectory|StateDirectory)=migd$", rf"\1={SECOND}", text, flags=re.M)
    with open(f"/etc/systemd/system/{SECOND}.service", "w") as f:
        f.write(text)
    run("systemctl", "daemon-reload")


def open_to_vmms(service):
    """What a socket unit does for the first: group kvm may attach."""
    wait_until(lambda: os.path.exists(service.attach_path), "the attach socket is there", 30)
    run("chgrp", "kvm", service.attach_path)
    os.chmod(service.attach_path, 0o660)


def hosts():
    """The packaged daemon and a second one, both up, without guests."""
    install()
    first = Service()
    run("systemctl", "start", first.unit)
    if not os.path.exists(f"/etc/systemd/system/{SECOND}.service"):
        second_unit()
    second = Service(SECOND)
    run("systemctl", "restart", second.unit)
    open_to_vmms(second)
    return first, second


def vmm(t, service, **options):
    """The installed migd-vmm, as a user who is in group kvm and nothing else."""
    user = pwd.getpwnam(VMM_USER)
    for folder in t.dir, t.shm:
        os.chown(folder, user.pw_uid, user.pw_gid)
    prefix = ["setpriv", "--reuid", VMM_USER, "--regid", str(user.pw_gid), "--init-groups"]
    return Vmm(t, "g", service, prefix=prefix, build="/usr", **options)


GUEST = {"memory": "48M", "working_set": "1M", "rate": "1000"}  # it leaves the emulated CPU to others, too


def pair(t):
    """A guest at the packaged daemon, and a VMM that waits for it at the second."""
    t.a, t.b = hosts()
    src, dst = vmm(t, t.a, **GUEST), vmm(t, t.b, incoming=True, **GUEST)
    t.assert_runs(src)
    t.fill(src)
    return src, dst


def speed_up(t, src):
    """An emulated CPU writes faster than it sends."""
    src.set(downtime_limit=30000)
    t.speed_up(src)


def slow_migration(t):
    """One that goes on until speed_up()."""
    src, dst = pair(t)
    t.make_slow(src, 256 << 10)  # less than the guest writes
    t.start(src, dst)
    t.wait_active(src)
    return src, dst


def completes(t, src, dst):
    speed_up(t, src)
    for side in src, dst:
        info = t.wait_end(side, 120)
        t.check(info["status"] == "completed", f"{side.label}: {info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def kill_daemon(service, sig=signal.SIGKILL):
    pid = service.pid
    os.kill(pid, sig)
    return pid


def main(timeout):
    outside()
    inside.enter(timeout, systemd=True)
    migdtest.main()

