#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 1500
"""Over vsock: both ends in one kernel, which vsock_loopback joins."""

import subprocess

import inside
import migdtest

ANY = 4294967295
LOCAL = 1  # VMADDR_CID_LOCAL


def load():
    subprocess.run(["modprobe", "vsock_loopback"], check=True)


def listen(t, dst, **address):
    """migrate-incoming at any free port; the port."""
    dst.command("migrate-incoming", address or {"uri": f"vsock:{ANY}:{ANY}"})
    found = migdtest.wait_until(lambda: dst.migration().get("socket-address"), "the destination says its address")
    t.check(len(found) == 1 and found[0]["type"] == "vsock" and found[0]["cid"] == str(ANY), f"the address is {found}")
    t.check(1024 <= int(found[0]["port"]) < ANY, f"a port was chosen: {found}")
    return int(found[0]["port"])


def channels(cid, port):
    return [{"channel-type": "main", "addr": {"transport": "socket", "type": "vsock", "cid": str(cid), "port": str(port)}}]


def check_moved(t, src, dst):
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{side.label}: {info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def test_uri(t):
    load()
    src, dst = t.pair(memory="64M", working_set="4M")
    port = listen(t, dst)
    src.command("migrate", {"uri": f"vsock:{LOCAL}:{port}"})
    check_moved(t, src, dst)
    t.check(f"vsock:{ANY}:{port}" in dst.daemon.log_text(), "the log says where it listened")


def test_channels(t):
    load()
    src, dst = t.pair(memory="64M", working_set="4M")
    port = listen(t, dst, channels=channels(ANY, ANY))
    src.command("migrate", {"channels": channels(LOCAL, port)})
    check_moved(t, src, dst)


def test_multifd(t):
    load()
    src, dst = t.pair(memory="64M", working_set="4M")
    for side in src, dst:
        side.set(multifd_channels=3)
        side.command("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
    src.command("migrate", {"uri": f"vsock:{LOCAL}:{listen(t, dst)}"})
    check_moved(t, src, dst)


def test_port_taken_and_nobody_there(t):
    load()
    src, dst = t.pair(memory="64M", working_set="4M")
    other = t.incoming(t.b, t.options, name="other")
    port = listen(t, dst)
    t.assert_refused(other, "migrate-incoming", {"uri": f"vsock:{ANY}:{port}"}, f"{ANY}:{port}", "in use")
    src.command("migrate", {"uri": f"vsock:{LOCAL}:{port + 1 if port + 1 < ANY else port - 1}"})
    t.assert_failed(src, "Failed to connect", "nobody listens")
    src.command("migrate", {"uri": "vsock:77:1234"})
    t.assert_failed(src, "77:1234", "no vsock device")
    src.command("migrate", {"uri": f"vsock:{ANY}:{port}"})
    t.assert_failed(src, "for listening")
    t.assert_untouched(src)


inside.enter(timeout=1000)
migdtest.main()
