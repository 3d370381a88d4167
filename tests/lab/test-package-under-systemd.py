#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 3000
"""The Debian packages on a machine with systemd: installed, upgraded in the middle of a migration, removed, purged."""

import os
import re
import subprocess

import installed
from installed import NEWER, NEWER_VERSION, Service, apt, completes, package_file, properties, run
from migd_process import is_running, wait_until

# systemd's own measure of what the unit leaves open, 0 to 10. Not a promise: a change that opens much shows here.
MOST_EXPOSED = 2.5


def test_installed(t):
    installed.install()
    t.check(re.match(r"migd \d", run("migd", "--version")), run("migd", "--version"))
    for unit in "migd.service", "migd.socket", "migd-attach.socket":
        state = properties(unit, "ActiveState", "UnitFileState")
        t.check(state == {"ActiveState": "active", "UnitFileState": "enabled"}, f"{unit}: {state}")
    t.check("not-found" not in run("systemctl", "is-enabled", "migd-read-only.socket", check=False), "it is there to be enabled")
    for page in "migd.8", "migctl.1":
        t.check(os.path.exists(f"/usr/share/man/man{page[-1]}/{page}.gz"), f"the page {page}")
    for path, mode in ("/run/migd/qmp", "660 migd migd"), ("/run/migd/attach", "660 migd kvm"), ("/var/lib/migd", "700 migd migd"):
        t.check(run("stat", "-c", "%a %U %G", path) == mode, f"{path}: {run('stat', '-c', '%a %U %G', path)}, not {mode}")
    owner = run("stat", "-c", "%U", f"/proc/{Service().pid}")
    t.check(owner == "migd", f"the daemon runs as {owner}")
    t.check("migd" in run("stat", "-c", "%G %a", "/dev/userfaultfd"), run("ls", "-l", "/dev/userfaultfd"))
    t.check(run("dpkg", "--verify", "migd", "migd-vmm") == "", "files are as packaged")


def test_unit_is_tight(t):
    installed.install()
    print(run("systemd-analyze", "--man=no", "verify", "migd.service", "migd.socket", "migd-attach.socket"))
    figure = run("systemd-analyze", "security", "migd.service", "--no-pager", check=False).splitlines()[-1]
    print(figure)
    t.check(float(re.search(r"level for migd.service: ([\d.]+)", figure).group(1)) <= MOST_EXPOSED, figure)


def test_started_by_a_socket(t):
    installed.install()
    run("systemctl", "stop", "migd.service")
    t.check(properties("migd.service", "ActiveState")["ActiveState"] == "inactive", "it is stopped")
    run("migctl", "guests")
    t.check(properties("migd.service", "ActiveState")["ActiveState"] == "active", "a client started it")
    run("systemctl", "stop", "migd.service")
    service = Service()
    vmm = installed.vmm(t, service, **installed.GUEST)
    t.assert_runs(vmm)


def test_upgrade_in_the_middle(t):
    """The package is upgraded while a guest moves: another daemon, the same worker, the migration completes."""
    src, dst = installed.slow_migration(t)
    old, worker = t.a.pid, src.worker()
    print(apt("install", package_file("migd", NEWER)).splitlines()[-1])
    t.check(NEWER_VERSION in run("dpkg-query", "-W", "migd"), run("dpkg-query", "-W", "migd"))
    t.a.replaced(old)
    src.wait_attached()
    t.check(src.status() == "active" and src.worker() == worker and is_running(worker), f"it goes on: {src.migration()}")
    completes(t, src, dst)


def test_disabled_stays_disabled(t):
    installed.install()
    units = "migd.service", "migd.socket", "migd-attach.socket"
    run("systemctl", "disable", "--now", *units)
    apt("install", "--reinstall", "--allow-downgrades", package_file("migd"))
    for unit in units:
        state = properties(unit, "ActiveState", "UnitFileState")
        t.check(state == {"ActiveState": "inactive", "UnitFileState": "disabled"}, f"{unit} after an upgrade: {state}")
    run("systemctl", "enable", "--now", *units)


def left_behind():
    """Files with migd in their name, but for the other package's, the second daemon's, and systemd's and dpkg's own notes."""
    found = run("find", "/etc", "/usr", "/var", "/run", "-xdev", "-name", "*migd*", "-not", "-path", "/run/migd-b*",
                "-not", "-path", "/var/lib/migd-b*", "-not", "-path", "*migd-b.service*", check=False).splitlines()
    return [path for path in found if "migd-vmm" not in path and
            not path.startswith(("/var/lib/dpkg/", "/var/cache/", "/run/systemd/"))]


def test_removed_and_purged(t):
    """Guests run on without a daemon, and attach to it when it is installed again; a purge leaves nothing."""
    installed.install()
    service = Service()
    run("systemctl", "start", "migd.socket", "migd-attach.socket", "migd.service")
    vmm = installed.vmm(t, service, **installed.GUEST)
    t.assert_runs(vmm)
    apt("remove", "migd")
    t.check(not os.path.exists("/usr/sbin/migd") and properties("migd.service", "MainPID")["MainPID"] == "0", "it is gone")
    t.assert_runs(vmm)
    apt("install", package_file("migd"))
    wait_until(lambda: (service.guest("g") or {}).get("attached"), "the VMM attaches to the new daemon", 60)
    t.assert_runs(vmm)
    apt("purge", "migd")
    t.assert_runs(vmm)
    t.check(left_behind() == [], f"left behind: {left_behind()}")
    t.check(subprocess.run(["getent", "passwd", "migd"], check=False).returncode == 0, "the user stays, as Debian's do")


installed.main(timeout=2500)
