# SPDX-License-Identifier: Apache-2.0
"""Daemons with a configuration of their own, and clients that are other users."""

import contextlib
import os

import migdtest

UID, GID, GROUP = 54321, 54322, 54323  # of nobody here


@contextlib.contextmanager
def user(uid=UID, gid=GID, groups=()):
    """Sockets that are connected meanwhile are this user's."""
    migdtest.need_root()
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


def configure(t, name="a", **sections):
    """Write a daemon's configuration: section={key: value}, "_" for "-" in keys."""
    text = "".join(f"[{section}]\n" + "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in keys.items())
                   for section, keys in sections.items())
    path = os.path.join(t.dir, name + ".conf")
    with open(path, "w") as f:
        f.write(text)
    return path


def daemon(t, name="a", extra=(), **sections):
    """A daemon with that configuration, whose sockets every user can reach."""
    path = configure(t, name, **sections)
    d = t.daemon(name, extra=["--config", path, *extra])
    os.chmod(t.dir, 0o711)
    os.chmod(d.base, 0o711)
    os.chmod(d.qmp_path, 0o666)
    return d


def error(qmp, command, arguments=None):
    """The text of the error that COMMAND is answered with."""
    try:
        answer = qmp.command(command, arguments)
    except migdtest.QmpError as e:
        return e.desc
    raise AssertionError(f"{command} {arguments} was accepted: {answer}")


def check_refused(t, qmp, class_name, command, arguments=None, uid=UID):
    """Its user lacks a class, and is told so."""
    text = error(qmp, command, arguments)
    for word in f"'{class_name}'", f"(uid {uid})", "migd.conf":
        t.check(word in text, f"{command}: {text!r} does not say {word}")
    return text
