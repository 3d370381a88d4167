# SPDX-License-Identifier: Apache-2.0
"""What a daemon and its workers say over their message sockets (attach/conn.h), read from strace's record of their system calls."""

import collections
import os
import re
import shutil
import struct

import migdtest

HEADER = struct.Struct("<IHHIIIIHHI")
MAGIC = 0x4147494D

# sent: by the process pid, else received by it. error: 0, or its number.
Message = collections.namedtuple("Message", "pid sent type is_reply error n_fds body")

CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(sendmsg|recvmsg)(?:\(| resumed>)(.*)\) = (\d+)$")
BEGINS = r'iov_base="\x4d\x49\x47\x41'
BYTES = re.compile(r'iov_base="((?:\\x[0-9a-f]{2})*)"')


class Tap:
    """prefix: of a daemon's command (t.daemon(prefix=...)); messages(): all so far, in order. The daemon keeps its pid."""

    def __init__(self, t, name):
        if not shutil.which("strace"):
            raise migdtest.Skip("there is no strace")
        self.path = os.path.join(t.dir, name + ".strace")
        self.prefix = ("strace", "-D", "-f", "-q", "-xx", "-s", "70000", "-e", "trace=sendmsg,recvmsg", "-e", "signal=none", "-o", self.path)

    def messages(self):
        begun = {}
        with open(self.path) as f:
            for line in f:
                line = line.rstrip("\n")
                pid = line.split(" ", 1)[0]
                if line.endswith("<unfinished ...>"):
                    begun[pid] = line[:-len("<unfinished ...>")]
                    continue
                if " resumed>" in line:
                    line = begun.pop(pid, "") + line.split(" resumed>", 1)[1]
                found = CALL.match(line)
                message = found and parse(int(found[1]), found[2] == "sendmsg", found[3], int(found[4]))
                if message:
                    yield message


def parse(pid, sent, arguments, length):
    """None: it is no message of this kind."""
    if BEGINS not in arguments:
        return None
    data = b"".join(bytes.fromhex(piece.replace("\\x", "")) for piece in BYTES.findall(arguments))[:length]
    if len(data) < HEADER.size:
        return None
    magic, _, number, _, reply_to, body, error, n_fds, _, _ = HEADER.unpack_from(data)
    if magic != MAGIC or len(data) != HEADER.size + body:
        return None
    return Message(pid, sent, number, reply_to != 0, error, n_fds, data[HEADER.size:])
