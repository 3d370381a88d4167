# SPDX-License-Identifier: Apache-2.0
"""Processes of other users, without capabilities, and with only those devices that they are given."""

import os

import migdtest

# Nobody's on a usual machine.
DAEMON, VMM, DEVICES = 64101, 64102, 64103

_SCRIPT = r"""
set -e
mount -t tmpfs -o mode=0755 none "$1"; place=$1; uid=$2; gid=$3; shift 3
while [ "$1" != -- ]; do
  node=$place/${1##*/}; device=$(stat -c 'c 0x%t 0x%T' "$1")
  mknod -m 0660 "$node" $device; chown root:"$gid" "$node"; mount --bind "$node" "$1"
  shift
done
shift
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \
  --pdeathsig KILL -- "$@"
"""


def prefix(t, uid, gid, devices=()):
    """Before a command: it runs as that user, whose group may open these devices."""
    migdtest.need_root()
    place = os.path.join(t.dir, f"devices-{t.count('devices')}")
    os.mkdir(place)
    return ["unshare", "--mount", "--propagation", "private", "bash", "-c", _SCRIPT, "bash", place, str(uid), str(gid),
            *devices, "--"]


def open_up(t):
    """Other users may make files in the test's directories."""
    for path in t.dir, t.shm:
        os.chmod(path, 0o1777)


def give(path, uid, gid=-1):
    """All that is there is that user's."""
    os.chown(path, uid, gid)
    for base, folders, files in os.walk(path):
        for name in folders + files:
            os.chown(os.path.join(base, name), uid, gid, follow_symlinks=False)


def status(pid, key):
    with open(f"/proc/{pid}/status") as f:
        return next(line.split(None, 1)[1].strip() for line in f if line.startswith(key + ":"))
