# SPDX-License-Identifier: Apache-2.0
"""Running migctl."""

import os
import pty
import subprocess

from migd_process import SLOW, program


def run(socket_path, *args, stdin="", timeout=60):
    """(exit status, stdout, stderr)."""
    env = {**os.environ, "MIGD_SOCKET": socket_path}
    done = subprocess.run([program("migctl"), *args], input=stdin, capture_output=True, text=True, env=env,
                          timeout=timeout * SLOW)
    return done.returncode, done.stdout, done.stderr


def ok(t, fake, *args, **kwargs):
    """What it prints, insisting on success and nothing on stderr. `fake`: a FakeQmp."""
    status, out, err = run(fake.path, *args, **kwargs)
    t.check(status == 0 and not err, f"{args}: status {status}, stderr {err!r}, stdout {out!r}")
    return out


def ctl(t, daemon, *args, status=0):
    """The same of a real daemon; or what it says on stderr where STATUS, not 0, is to be its exit status."""
    got, out, err = run(daemon.qmp_path, *args)
    t.check(got == status and bool(err) == bool(status), f"{args}: status {got}, not {status}, stderr {err!r}, stdout {out!r}")
    return err if status else out


def run_on_terminal(socket_path, *args, columns=120, timeout=60):
    """(exit status, what the terminal got)."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "cols", str(columns)], stdin=theirs, check=True)
    env = {**os.environ, "MIGD_SOCKET": socket_path}
    process = subprocess.Popen([program("migctl"), *args], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    got = b""
    try:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            got += data
        return process.wait(timeout * SLOW), got.decode()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
