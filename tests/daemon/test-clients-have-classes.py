#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""What QMP clients may do is decided by who they are: by user and group, as the kernel says."""

import contextlib
import os

import attach_peer
import migdtest

UID, GID = 54321, 54322  # of nobody here


@contextlib.contextmanager
def user(uid=UID, gid=GID, groups=()):
    """Sockets that are connected meanwhile are this user's."""
    mine = os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(mine)


def reachable(t, daemon):
    """Everybody can open the daemon's socket."""
    os.chmod(t.dir, 0o711)
    os.chmod(daemon.base, 0o711)
    os.chmod(daemon.qmp_path, 0o666)
    return daemon


def refused(t, qmp, class_name, command, arguments=None, uid=UID):
    try:
        qmp.command(command, arguments)
    except migdtest.QmpError as e:
        for word in f"'{class_name}'", f"(uid {uid})", "migd.conf":
            t.check(word in e.desc, f"{command}: {e.desc!r} does not say {word}")
        return e.desc
    raise AssertionError(f"{command} {arguments} was accepted")


def fails(t, qmp, word, command, arguments):
    """It is let through, and fails later."""
    try:
        qmp.command(command, arguments)
    except migdtest.QmpError as e:
        t.check(word in e.desc, f"{command}: {e.desc!r} is not about {word}")
        return
    raise AssertionError(f"{command} {arguments} was accepted")


def test_files_and_programs_are_for_the_privileged(t):
    migdtest.need_root()
    daemon = reachable(t, t.daemon("a", extra=["--allow-exec"]))
    _peer = attach_peer.attached(daemon, "g")
    with user():
        other = daemon.connect()
    other.command("query-guests")
    other.command("migrate-set-parameters", {"max-bandwidth": 1 << 20})
    other.command("host-set-parameters", {"max-outgoing": 3})
    path = os.path.join(t.dir, "f")
    channel = {"channel-type": "main", "addr": {"transport": "file", "filename": path, "offset": 0}}
    exec_channel = {"channel-type": "main", "addr": {"transport": "exec", "args": ["/bin/cat"]}}
    for arguments in {"uri": f"file:{path}"}, {"uri": "exec:cat"}, {"channels": [channel]}, {"channels": [exec_channel]}:
        refused(t, other, "privileged", "migrate", {"guest": "g", **arguments})
    t.check(not os.path.exists(path), "a file was made")
    waiting = attach_peer.attached(daemon, "w", role=attach_peer.INCOMING)  # noqa: F841 (stays attached)
    for arguments in {"uri": f"file:{path}"}, {"uri": "exec:cat"}, {"channels": [channel]}, {"channels": [exec_channel]}:
        refused(t, other, "privileged", "migrate-incoming", {"guest": "w", **arguments})
    refused(t, other, "privileged", "migrate-recover", {"guest": "w", "uri": "exec:cat"})
    refused(t, other, "privileged", "migrate-set-parameters", {"guest": "g", "cpr-exec-command": ["/bin/true"]})
    creds = {"qom-type": "tls-creds-x509", "id": "c", "dir": t.dir, "endpoint": "client"}
    for options in creds, {"qom-type": "tls-creds-psk", "id": "c", "dir": t.dir}, \
            {"qom-type": "secret", "id": "c", "file": path}, {"qom-type": "authz-listfile", "id": "c", "filename": path}:
        refused(t, other, "privileged", "object-add", options)
        fails(t, daemon.qmp, t.dir, "object-add", options)
    other.command("object-add", {"qom-type": "secret", "id": "s", "data": "x"})
    # A descriptor that was passed is its client's own.
    with open(os.path.join(t.dir, "given"), "wb") as f:
        other.command("add-fd", {"fdset-id": 5}, fds=[f.fileno()])
    fails(t, other, "no set 7", "migrate", {"guest": "g", "uri": "file:/dev/fdset/7"})


def test_who_is_named(t):
    migdtest.need_root()
    daemon = reachable(t, t.daemon("a"))
    with user(65534, 65534):
        nobody = daemon.connect()
    text = refused(t, nobody, "privileged", "object-add", {"qom-type": "secret", "id": "s", "file": "/x"}, uid=65534)
    t.check("user nobody (uid" in text, f"{text}")


migdtest.main(kvm=False)
