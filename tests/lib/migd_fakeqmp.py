# SPDX-License-Identifier: Apache-2.0
"""A QMP server with canned answers, to see what a client sends and how it shows what it gets."""

import json
import os
import socket
import threading


class FakeQmp:
    """answers: {command: value, or a list of values, one a call (the last stays; wrap a value that is a list), or Exception(text) for an error}."""

    def __init__(self, path, answers, events=()):
        self.path = path
        self.answers = dict(answers)
        self.requests = []
        self.events = list(events)  # sent after qmp_capabilities
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(5)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def sent(self, command):
        """The arguments of each call of a command."""
        return [r.get("arguments", {}) for r in self.requests if r["execute"] == command]

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _session(self, client):
        def send(message):
            client.sendall(json.dumps(message).encode() + b"\r\n")
        try:
            send({"QMP": {"version": {"qemu": {"major": 0, "minor": 1, "micro": 0}, "package": "fake"},
                          "capabilities": []}})
            for line in client.makefile("r"):
                if not line.strip():
                    continue
                request = json.loads(line)
                self.requests.append(request)
                send({**self._answer(request), **({"id": request["id"]} if "id" in request else {})})
                if request["execute"] == "qmp_capabilities":
                    for event in self.events:
                        send(event)
        except OSError:
            pass
        finally:
            client.close()

    def _answer(self, request):
        name = request["execute"]
        if name == "qmp_capabilities":
            return {"return": {}}
        if name not in self.answers:
            return {"error": {"class": "CommandNotFound", "desc": f"The command {name} has not been found"}}
        answer = self.answers[name]
        if isinstance(answer, list) and answer and isinstance(answer[0], (list, dict, Exception)):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            return {"error": {"class": "GenericError", "desc": str(answer)}}
        return {"return": answer}


UNDERSCORED = ("migrate_cancel", "system_wakeup")  # QEMU's names with an underscore


def serve(t, **answers):
    """A FakeQmp for the length of a test; query_guests=... is what it answers to query-guests."""
    names = {k: k if k in UNDERSCORED else k.replace("_", "-") for k in answers}
    fake = FakeQmp(os.path.join(t.dir, "qmp"), {names[k]: v for k, v in answers.items()})
    t.cleanup.callback(fake.close)
    return fake
