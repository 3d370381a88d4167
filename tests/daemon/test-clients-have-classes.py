#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""What QMP clients may do is decided by who they are: by user and group, as the kernel says, and section [access]."""

import os

import attach_peer
import migd_qmp
import migdtest
import qmp_clients
from qmp_clients import GID, GROUP, UID, check_refused, error, user


def test_files_and_programs_are_for_the_privileged(t):
    daemon = qmp_clients.daemon(t, extra=["--allow-exec"])
    _peer = attach_peer.attached(daemon, "g")
    with user():
        other = daemon.connect()
    other.command("query-guests")
    other.command("migrate-set-parameters", {"max-bandwidth": 1 << 20})
    other.command("host-set-parameters", {"max-outgoing": 3})
    path = os.path.join(t.dir, "f")
    addresses = [{"uri": f"file:{path}"}, {"uri": "exec:cat"}]
    for addr in {"transport": "file", "filename": path, "offset": 0}, {"transport": "exec", "args": ["/bin/cat"]}:
        addresses.append({"channels": [{"channel-type": "main", "addr": addr}]})
    _waiting = attach_peer.attached(daemon, "w", role=attach_peer.INCOMING)
    for arguments in addresses:
        check_refused(t, other, "privileged", "migrate", {"guest": "g", **arguments})
        check_refused(t, other, "privileged", "migrate-incoming", {"guest": "w", **arguments})
    t.check(not os.path.exists(path), "a file was made")
    check_refused(t, other, "privileged", "migrate-recover", {"guest": "w", "uri": "exec:cat"})
    check_refused(t, other, "privileged", "migrate-set-parameters", {"guest": "g", "cpr-exec-command": ["/bin/true"]})
    check_refused(t, other, "privileged", "guest-open-qmp", {"guest": "g", "path": os.path.join(t.dir, "sock")})
    for options in ({"qom-type": "tls-creds-x509", "dir": t.dir, "endpoint": "client"},
                    {"qom-type": "tls-creds-psk", "dir": t.dir}, {"qom-type": "secret", "file": path},
                    {"qom-type": "authz-listfile", "filename": path}):
        check_refused(t, other, "privileged", "object-add", {"id": "c", **options})
        text = error(daemon.qmp, "object-add", {"id": "c", **options})
        t.check(t.dir in text, f"{text!r} is not about the files")
    other.command("object-add", {"qom-type": "secret", "id": "s", "data": "x"})
    # A descriptor that was passed is its client's own.
    text = error(other, "migrate", {"guest": "g", "uri": "file:/dev/fdset/7"})
    t.check("no set 7" in text, text)


def test_lists_name_users_and_groups(t):
    daemon = qmp_clients.daemon(t, access={"read": f"{UID} {UID + 1} @{GROUP}", "operate": f"{UID} @{GROUP}", "admin": UID,
                                           "privileged": "nobody"})
    _peer = attach_peer.attached(daemon, "g")
    clients = {}
    for name, who in (("all", {}), ("reads", {"uid": UID + 1}), ("nothing", {"uid": UID + 2}),
                      ("group", {"uid": UID + 2, "gid": GROUP}), ("member", {"uid": UID + 2, "groups": [1, GROUP, 2]}),
                      ("nobody", {"uid": 65534, "gid": 65534})):
        with user(**who):
            clients[name] = daemon.connect()
    commands = {"read": ("query-guests", None), "operate": ("stop", None), "admin": ("host-set-parameters", {"max-outgoing": 1})}
    rights = {"all": ("read", "operate", "admin"), "reads": ("read",), "nothing": (), "group": ("read", "operate"),
              "member": ("read", "operate"), "nobody": ()}
    uids = {"all": UID, "reads": UID + 1, "nobody": 65534}
    for name, client in clients.items():
        for class_name, (command, arguments) in commands.items():
            if class_name not in rights[name]:
                text = check_refused(t, client, class_name, command, arguments, uid=uids.get(name, UID + 2))
                t.check(command in text, f"{text!r} does not name {command}")
            elif command == "stop":
                # It gets as far as to the VMM, which does not answer here: asked for by others below.
                continue
            else:
                client.command(command, arguments)
    t.check("user nobody (uid" in error(clients["nobody"], "query-guests"), "the user's name")
    t.check("class" not in error(daemon.qmp, "object-add", {"qom-type": "secret", "id": "s", "file": "/no/such"}), "root may")
    # Parameters are class operate, and need nobody else.
    for name in "all", "group", "member":
        clients[name].command("migrate-set-parameters", {"max-bandwidth": 1 << 20})
    # What the one may who is in one list only: privileged alone is no class of a command.
    check_refused(t, clients["nobody"], "admin", "object-add", {"qom-type": "secret", "id": "s", "file": "/x"}, uid=65534)


def test_a_reload_changes_open_sessions(t):
    daemon = qmp_clients.daemon(t)
    with user():
        client = daemon.connect()
    client.command("host-set-parameters", {"max-outgoing": 1})
    qmp_clients.configure(t, access={"read": "*", "admin": "root"})
    daemon.qmp.command("reload-config")
    check_refused(t, client, "admin", "host-set-parameters", {"max-outgoing": 2})
    # A list that is wrong changes nothing.
    qmp_clients.configure(t, access={"read": "*", "admin": "*,root"})
    error(daemon.qmp, "reload-config")
    check_refused(t, client, "admin", "host-set-parameters", {"max-outgoing": 2})
    qmp_clients.configure(t, access={"admin": f"@{GID}"})
    daemon.qmp.command("reload-config")
    client.command("host-set-parameters", {"max-outgoing": 2})


def test_the_read_only_socket_only_reads(t):
    path = os.path.join(t.dir, "read-only")
    daemon = qmp_clients.daemon(t, qmp={"read_only_socket": path, "socket_mode": "0640", "socket_group": GROUP})
    for socket in path, daemon.attach_path:
        mode = os.stat(socket)
        wanted = (0o640, GROUP) if socket == path else (0o600, os.getegid())
        t.check((mode.st_mode & 0o777, mode.st_gid) == wanted, f"{socket}: {mode}")
    _peer = attach_peer.attached(daemon, "g")
    with migd_qmp.Qmp(path) as client:
        t.check([g["name"] for g in client.command("query-guests")] == ["g"], "it asks")
        client.command("query-migrate")
        for command, arguments in ("stop", None), ("quit", None), ("host-set-parameters", {"max-outgoing": 3}):
            text = error(client, command, arguments)
            t.check("read-only" in text and command in text, f"{command}: {text!r}")
        t.check(daemon.qmp.command("query-host-parameters")["max-outgoing"] == 0, "it was changed")
        daemon.kill(15)
    t.check(not os.path.exists(path), "it is left behind")


migdtest.main(kvm=False)
