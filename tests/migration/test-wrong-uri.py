#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A URI that makes no sense is refused in the reply, says why, and changes nothing."""

import migdtest

WRONG = ("", "tcp", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:[::1:4444", "tcp:127.0.0.1:99999",
         "tcp:127.0.0.1:-1", "tcp:127.0.0.1:44 44", "tcp:127.0.0.1:4444,nonsense", "tcp:127.0.0.1:4444,to=abc", "unix:",
         "unix:/" + "x" * 200, "ftp:127.0.0.1:4444", "127.0.0.1:4444", "exec:cat", "exec:", "fd:", "file:",
         "file:/x,offset=0x20M", "vsock:2:", "vsock:2:4294967296", "rdma:h:1",
         "tcp:127.0.0.1:1,ipv4,ipv4", "tcp:127.0.0.1:1,source-address=eth0", "unix-abstract:")


def test_wrong_uri(t):
    src, dst = t.pair()
    for uri in WRONG:
        for vmm, command in (src, "migrate"), (dst, "migrate-incoming"):
            t.assert_refused(vmm, command, {"uri": uri})
            t.check(vmm.status() == "none", f"{command} {uri!r} left status {vmm.status()}")
    t.migrate(src, dst)
    t.assert_runs(dst)


def test_stream_that_is_not_there(t):
    """Opened at once: the command fails, and the source's migration with the same text; the destination can try again."""
    src, dst = t.pair()
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    for uri in "fd:nope", "fd:3", "file:/nonexistent/x", "file:/dev/fdset/5", f"file:{t.dir},offset=4096":
        src.daemon.qmp.skip_events()
        text = t.assert_refused(src, "migrate", {"uri": uri})
        info = src.migration()
        t.check(info["status"] == "failed" and info["error-desc"] == text, f"{uri}: {text!r}, but {info}")
        states = [src.daemon.qmp.wait_event("MIGRATION").data["status"] for _ in range(2)]
        t.check(states == ["setup", "failed"], f"{uri}: {states}")
        t.assert_refused(dst, "migrate-incoming", {"uri": uri})
        t.check(dst.status() == "none", f"migrate-incoming {uri!r} left status {dst.status()}")
    t.migrate(src, dst)
    t.assert_runs(dst)


def channel(kind="main", **addr):
    return {"channel-type": kind, "addr": addr or {"transport": "socket", "type": "inet", "host": "::1", "port": "1"}}


def test_wrong_channels(t):
    src, dst = t.pair()
    for channels, words in (
            ([channel(), channel()], "more than one main"),
            ([channel("cpr"), channel("cpr"), channel()], "more than one cpr"),
            ([channel("cpr")], "no main entry"),
            ([channel(transport="exec", args=[])], "channels[0].addr: the command is missing"),
            ([channel(transport="exec", args=["/bin/cat"])], "--allow-exec"),
            ([channel(transport="file", filename="", offset=0)], "channels[0].addr: the path of the file is missing"),
            ([channel(transport="file", filename="x")], "Parameter 'channels[0].addr.offset' is missing"),
            ([channel(transport="file", filename="x", offset="0x20M")], "'channels[0].addr.offset' expects uint64"),
            ([channel(transport="socket", type="fd", str="")], "channels[0].addr: invalid fd address"),
            ([channel(transport="socket", type="vsock", cid="2", port="x")], "channels[0].addr: error parsing address 'vsock:2:x'"),
            ([channel("cpr", transport="socket", type="unix", path="/x"), channel(transport="socket", type="unix", path="")],
             "channels[1].addr: the path of the Unix socket is missing"),
            ([channel(transport="rdma", host="h", port="1")], "'rdma' is not supported")):
        text = t.assert_refused(src, "migrate", {"channels": channels})
        t.check(words in text, f"{channels}: {text!r} does not say {words!r}")
        t.check(src.status() == "none", f"{channels} left status {src.status()}")
    text = t.assert_refused(dst, "migrate-incoming", {"channels": [channel(), channel("cpr")]})
    t.check("only one entry" in text, f"{text!r}")


def test_no_address(t):
    src, dst = t.pair()
    t.assert_refused(src, "migrate", {})
    t.assert_refused(dst, "migrate-incoming", {})
    t.assert_refused(src, "migrate", {"uri": "tcp:127.0.0.1:1", "channels": [
        {"channel-type": "main", "addr": {"transport": "socket", "type": "unix", "path": "/x"}}]})


migdtest.main()
