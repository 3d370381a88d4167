#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""Guests of one host are received at one port, each by its name; whoever names none, or a wrong one, is told so."""

import os
import signal
import socket
import threading

import migd_shared
import migdtest
from migd_process import wait_until


def hosts(t):
    return t.daemon("a"), t.daemon("b", extra=migd_shared.LISTEN)


def pair(t, name="g", **options):
    """A guest on the first host, and one that waits for it at the second one's shared port."""
    a, b = hosts(t)
    src, dst = t.vmm(a, name=name, **options), t.incoming(b, options, name=name)
    t.assert_runs(src)
    dst.command("migrate-incoming", {"uri": "shared:", "exit-on-error": False})
    return src, dst


def completed(t, src, dst):
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.assert_only_runs(dst, src)


def test_two_at_once(t):
    a, b = hosts(t)
    options = {"working_set": "4M"}
    pairs = [(t.vmm(a, name=n, **options), t.incoming(b, options, name=n)) for n in ("one", "two")]
    for src, dst in pairs:
        t.assert_runs(src)
        dst.command("migrate-incoming", {"uri": "shared:"})
        address, = dst.migration()["socket-address"]
        t.check(int(address["port"]) == migd_shared.port(b), f"the shared port's address is shown: {address}")
    for src, _ in pairs:
        src.command("migrate", {"uri": migd_shared.uri(b, None)})
    for src, dst in pairs:
        completed(t, src, dst)
        t.assert_memory_verified(dst)
    seen = migd_shared.listener(b)
    t.check((seen["connections"], seen["passed"], seen["undecided"], seen["refused"]) == (2, 2, 0, {}), f"{seen}")
    t.check(len(b.greeters()) == 1, "one greeter for all")


def test_under_other_names(t):
    a, b = hosts(t)
    name = "a guest, guest=\"x\" — é"
    src, dst = t.vmm(a), t.incoming(b, {}, name="h")
    dst.command("migrate-incoming", {"uri": f"shared:{name}"})
    src.command("migrate", {"uri": migd_shared.uri(b, name)})
    completed(t, src, dst)


def test_as_channels(t):
    a, b = hosts(t)
    src, dst = t.vmm(a), t.incoming(b, {}, name="h")
    dst.command("migrate-incoming", {"channels": [{"channel-type": "main",
                                                   "addr": {"transport": "shared", "guest": "x"}}]})
    src.command("migrate", {"channels": [{"channel-type": "main", "addr": {
        "transport": "socket", "type": "inet", "host": "127.0.0.1", "port": str(migd_shared.port(b)), "guest": "x"}}]})
    completed(t, src, dst)


def test_at_a_unix_socket(t):
    a = t.daemon("a")
    path = os.path.join(t.dir, "shared")
    b = t.daemon("b", extra=("--listen", f"unix:{path}"))
    src, dst = t.vmm(a), t.incoming(b, {})
    dst.command("migrate-incoming", {"uri": "shared:"})
    src.command("migrate", {"uri": f"unix:{path},guest"})
    completed(t, src, dst)


def test_wrong_names(t):
    src, dst = pair(t)
    b = dst.daemon
    other = t.incoming(b, {}, name="other")
    for name, reason in ("nobody", "no-such-guest"), ("other", "not-waiting"):
        src.command("migrate", {"uri": migd_shared.uri(b, name)})
        t.assert_failed(src, "does not wait", "migrate-incoming")
        t.check(migd_shared.listener(b)["refused"][reason] == 1, f"{name}: {migd_shared.listener(b)}")
        t.check(f"guest='{name}'" in b.log_text(), "the log names it")
        t.assert_untouched(src)
    t.check(dst.status() == "setup" and not other.migration(), f"nobody was disturbed: {other.migration()}")
    src.command("migrate", {"uri": migd_shared.uri(b, None)})
    completed(t, src, dst)


def test_not_told_whom(t):
    """A migd whose address says no name learns what is missing."""
    src, dst = pair(t)
    src.command("migrate", {"uri": f"tcp:127.0.0.1:{migd_shared.port(dst.daemon)}"})
    t.assert_failed(src, "guest=NAME")
    migd_shared.wait_refused(dst.daemon, "unnamed")
    t.assert_untouched(src)


def test_refusals(t):
    a, b = hosts(t)
    src, dst, third = t.vmm(a), t.incoming(b, {}), t.incoming(b, {}, name="third")
    t.assert_refused(t.incoming(a, {}, name="there"), "migrate-incoming", {"uri": "shared:"}, "host-listen")
    t.assert_refused(src, "migrate", {"uri": "shared:"}, "guest=NAME")
    t.assert_refused(dst, "migrate-incoming", {"uri": "tcp:127.0.0.1:0,guest=x"}, "shared:NAME")
    dst.command("migrate-incoming", {"uri": "shared:x"})
    t.assert_refused(third, "migrate-incoming", {"uri": "shared:x"}, "already", "another")
    third.command("migrate-incoming", {"uri": "shared:y"})


def test_beside_a_port_of_its_own(t):
    src, dst = pair(t)
    own_src, own_dst = t.vmm(src.daemon, name="own"), t.incoming(dst.daemon, {}, name="own")
    t.start(own_src, own_dst)
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    completed(t, own_src, own_dst)
    completed(t, src, dst)


def test_a_name_at_a_port_of_its_own(t):
    """Whoever waits alone says who it is, too."""
    src, dst = t.pair()
    found = t.listen(dst)
    src.command("migrate", {"uri": found + ",guest=nobody"})
    t.assert_failed(src, "nobody", "'g' waits")
    t.assert_untouched(src)
    src.command("migrate", {"uri": found + ",guest"})
    completed(t, src, dst)


def test_preflight_and_again(t):
    """A guest that was only asked about goes on waiting."""
    src, dst = pair(t)
    src.daemon.qmp.skip_events()
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None), "preflight": "only"})
    wait_until(lambda: src.migration().get("preflight"), "the comparison is there")
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    completed(t, src, dst)


def test_greetings_of_all_kinds(t):
    src, dst = pair(t)
    b = dst.daemon
    greetings = [
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"), (bytes(200), "malformed"), (b"MiG", "closed"), (b"", "closed"),
        (migd_shared.preamble("g")[:-1], "closed"), (migd_shared.preamble("g", version=2), "malformed"),
        (migd_shared.preamble("g", flags=2), "malformed"), (migd_shared.preamble("g", length=2), "malformed"),
        (migd_shared.preamble("gg", length=1), "malformed"), (migd_shared.preamble("g", length=255), "malformed"),
        (migd_shared.preamble("\n"), "malformed"), (migd_shared.preamble("x" * 127), "no-such-guest"),
        (b"QEVM\0\0\0\3", "unnamed"), (b"\x11\x22\x33\x44", "unnamed"),
        (b"\x16\x03\x01\x40\x00\x01\x00\x40\x01", "too-long"), (b"\x16\x03\x01\x40\x00\x01", "closed"),
    ]
    expected = {}
    for data, reason in greetings:
        back = migd_shared.say(b, data, end=True)
        expected[reason] = expected.get(reason, 0) + 1
        migd_shared.wait_refused(b, reason, expected[reason])
        if reason in ("unnamed", "no-such-guest"):
            t.check(migd_shared.error_text(back), f"{data[:20]}: the peer is told: {back}")
    t.check(migd_shared.listener(b)["refused"] == expected, f"{migd_shared.listener(b)} instead of {expected}")
    t.check(dst.status() == "setup" and not dst.migration().get("error-desc"), "the guest never heard of them")
    src.command("migrate", {"uri": migd_shared.uri(b, None)})
    completed(t, src, dst)


def test_named_garbage(t):
    """What follows the name is the worker's to refuse."""
    src, dst = pair(t)
    migd_shared.say(dst.daemon, migd_shared.preamble("g") + b"x" * 100)
    wait_until(lambda: "magic" in dst.migration().get("error-desc", ""), "it is refused by the worker")
    t.check(dst.status() == "setup", "which goes on waiting")
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    completed(t, src, dst)


def test_piece_by_piece(t):
    """A greeting byte by byte, and one that stops half-way: nobody waits for it but itself."""
    src, dst = pair(t)
    b = dst.daemon
    stalled = socket.create_connection(("127.0.0.1", migd_shared.port(b)))
    stalled.sendall(b"MiGd")
    with socket.create_connection(("127.0.0.1", migd_shared.port(b))) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in migd_shared.preamble("g"):
            slow.sendall(bytes([byte]))
        wait_until(lambda: migd_shared.listener(b)["passed"] == 1, "it is passed on")
    src.command("migrate", {"uri": migd_shared.uri(b, None)})
    completed(t, src, dst)
    t.check(migd_shared.listener(b)["undecided"] == 1, "the other one still has time")
    migd_shared.wait_refused(b, "too-late")
    stalled.settimeout(5)
    t.check(stalled.recv(100) == b"", "it is closed")


def test_flood(t):
    """Connections without end, some of them with the guest's own name, keep nobody from coming."""
    src, dst = pair(t, working_set="4M")
    b = dst.daemon
    address = ("127.0.0.1", migd_shared.port(b))
    over = threading.Event()
    greetings = [b"", b"Mi", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n", migd_shared.preamble("nobody"),
                 migd_shared.preamble("g", bytes([1] * 16))]
    count = [0]

    def flood():
        held = []
        while not over.is_set():
            try:
                peer = socket.create_connection(address, timeout=5, source_address=("127.0.0.2", 0))
                peer.sendall(greetings[count[0] % len(greetings)])
            except OSError:
                continue
            count[0] += 1
            held.append(peer)
            if len(held) > 600:
                held.pop(0).close()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        wait_until(lambda: migd_shared.listener(b)["refused"].get("too-many", 0) > 100, "there are too many", 60)
        src.command("migrate", {"uri": migd_shared.uri(b, None)})
        completed(t, src, dst)
    finally:
        over.set()
        thread.join()
        print(f"{count[0]} connections: {migd_shared.listener(b)}")
    t.check(len([line for line in b.log_text().splitlines() if "was refused" in line and "shared port" in line]) < 100,
            "the log is no flood")


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)


def test_greeter_dies(t):
    src, dst = pair(t)
    b = dst.daemon
    peer = socket.create_connection(("127.0.0.1", migd_shared.port(b)))
    greeter, = wait_until(b.greeters, "there is a greeter")
    wait_until(lambda: status(greeter)["Seccomp"] == "2", "it is locked in")
    t.check(status(greeter)["NoNewPrivs"] == "1" and int(status(greeter)["CapPrm"], 16) == 0, f"{status(greeter)}")
    os.kill(greeter, signal.SIGKILL)
    migd_shared.wait_refused(b, "greeter-lost")
    peer.settimeout(5)
    t.check(peer.recv(100) == b"", "the connection it looked at is lost")
    src.command("migrate", {"uri": migd_shared.uri(b, None)})
    completed(t, src, dst)
    t.check(b.greeters() and b.greeters() != [greeter], "there is another one")


def test_greeter_hangs(t):
    src, dst = pair(t)
    b = dst.daemon
    peer = socket.create_connection(("127.0.0.1", migd_shared.port(b)))
    greeter, = wait_until(b.greeters, "there is a greeter")
    os.kill(greeter, signal.SIGSTOP)
    migd_shared.wait_refused(b, "greeter-lost", timeout=40)
    peer.close()
    src.command("migrate", {"uri": migd_shared.uri(b, None)})
    completed(t, src, dst)


def test_port_closed_meanwhile(t):
    src, dst = pair(t, working_set="16M")
    b = dst.daemon
    t.make_slow(src)
    src.command("migrate", {"uri": migd_shared.uri(b, None)})
    t.wait_active(src)
    address = migd_shared.listener(b)["uri"]
    b.qmp.command("host-listen-stop", {"uri": address})
    t.check(dst.migration().get("socket-address") == [], f"it waits nowhere: {dst.migration()}")
    t.speed_up(src)
    completed(t, src, dst)


def test_tls_required(t):
    src, dst = pair(t)
    b = dst.daemon
    b.qmp.command("host-set-parameters", {"tls-required": True})
    src.command("migrate", {"uri": migd_shared.uri(b, None)})
    t.assert_failed(src, "TLS")
    t.check(migd_shared.listener(b)["refused"] == {"not-encrypted": 1}, f"{migd_shared.listener(b)}")
    t.assert_untouched(src)


# The sides find each other again by the same port.

def succeed(t, vmm):
    """Another daemon in place of the one that is killed."""
    vmm.daemon.kill()
    vmm.daemon.drop_session()
    vmm.daemon = t.daemon("b", extra=migd_shared.LISTEN)
    wait_until(lambda: (vmm.daemon.guest("g") or {}).get("attached"), "the next daemon knows the guest")


def test_daemon_dies_in_mid_migration(t):
    src, dst = pair(t, working_set="16M")
    before = migd_shared.port(dst.daemon)
    t.make_slow(src)
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    t.wait_active(src)
    succeed(t, dst)
    t.check(migd_shared.port(dst.daemon) == before, "the port is the same")
    t.speed_up(src)
    completed(t, src, dst)


def lost(t, what):
    """The link breaks at `what` = (direction, message) and stays broken; (source, destination, link)."""
    src, dst = pair(t, working_set="2M")
    link = t.proxy(migd_shared.port(dst.daemon), rule=lambda d, n, count: "cut-before" if (d, n) == what else None)
    src.command("migrate", {"uri": link.uri + ",guest"})
    wait_until(link.was_cut.is_set, f"the link breaks at {what}")
    return src, dst, link


def test_commit_lost(t):
    src, dst, link = lost(t, ("out", "cmd-commit"))
    wait_until(lambda: src.migration()["handover"]["in-doubt"], "the source is in doubt")
    link.heal()
    t.assert_failed(src)
    t.assert_only_runs(src, dst)


def test_active_lost_and_daemon_dies(t):
    src, dst, link = lost(t, ("back", "reply-active"))
    t.assert_runs(dst)
    succeed(t, dst)
    link.heal()
    completed(t, src, dst)


def test_active_lost_and_worker_dies(t):
    """The worker's successor is found at the same port, by the same name."""
    src, dst, link = lost(t, ("back", "reply-active"))
    t.assert_runs(dst)
    worker, = dst.daemon.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: dst.daemon.workers() not in ([], [worker]), "it has a successor")
    link.heal()
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source learns that it completed: {info}")
    t.assert_only_runs(dst, src)


def replaced(t):
    """The source could not yet tell its target that the guest stays, and the target's VMM is gone; (source, the worker that
    is to be told, link)."""
    src, dst, link = lost(t, ("back", "reply-loaded"))
    t.assert_failed(src)
    worker, = dst.daemon.workers()
    dst.kill()
    wait_until(lambda: not (dst.daemon.guest("g") or {}).get("attached"), "it is gone")
    return src, dst, worker, link


def test_each_source_finds_its_own(t):
    """Two migrations under one name: the old target, which is still to be told, and the new one, which waits."""
    src, dst, worker, link = replaced(t)
    again = t.incoming(dst.daemon, {"working_set": "2M"})
    again.command("migrate-incoming", {"uri": "shared:", "exit-on-error": False})
    link.heal()
    wait_until(lambda: worker not in dst.daemon.workers(), "the old target is told")
    t.check(again.status() == "setup" and "error-desc" not in again.migration(), f"{again.migration()}")
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    completed(t, src, again)


def test_sources_of_before_do_no_harm(t):
    """Nobody is left whom the old source could tell: it does not end the migration that waits under that name."""
    src, dst, worker, link = replaced(t)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not dst.daemon.workers(), "the old target's worker is gone")
    again = t.incoming(dst.daemon, {"working_set": "2M"})
    again.command("migrate-incoming", {"uri": "shared:", "exit-on-error": False})
    link.heal()
    wait_until(lambda: "nothing of" in again.migration().get("error-desc", ""), "the old source comes by", 30)
    t.check(again.status() == "setup", f"it goes on waiting: {again.migration()}")
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    completed(t, src, again)


migdtest.main()
