# SPDX-License-Identifier: Apache-2.0
"""What a server says, compared with what its own query-qmp-schema says that it says."""

import os
import socket
import struct

CLASSES = ("GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap")
JSON_TYPES = {"string": (str,), "number": (int, float), "int": (int,), "boolean": (bool,), "null": (type(None),),
              "array": (list,), "object": (dict,)}


class SchemaError(AssertionError):
    """A message that breaks the schema; says where."""


def need(condition, where, what):
    if not condition:
        raise SchemaError(f"{where}: {what}")


class Schema:
    """`entries`: the answer of query-qmp-schema."""

    def __init__(self, entries):
        self.by_name = {entry["name"]: entry for entry in entries}
        need(len(self.by_name) == len(entries), "query-qmp-schema", "a name appears twice")

    def _entry(self, name, meta_type, where):
        entry = self.by_name.get(name)
        need(entry and entry["meta-type"] == meta_type, where, f"there is no {meta_type} '{name}' in the schema")
        return entry

    def check_return(self, command, value):
        self._value(self._entry(command, "command", command)["ret-type"], value, f"{command} returned")

    def check_message(self, message):
        """Anything but a greeting: its form, and an event's data."""
        if "event" in message:
            self._event(message)
            return
        need(("return" in message) != ("error" in message), "a reply", f"it has neither or both of return and error: {message}")
        need(set(message) <= {"return", "error", "id"}, "a reply", f"it has more members: {message}")
        error = message.get("error")
        if error is not None:
            need(set(error) == {"class", "desc"} and isinstance(error["desc"], str) and error["class"] in CLASSES, "an error",
                 f"{error}")

    def _event(self, message):
        name = message["event"]
        arguments = self._entry(name, "event", "an event")["arg-type"]
        stamp = message.get("timestamp")
        need(set(message) <= {"event", "data", "timestamp"}, f"event {name}", f"it has more members: {message}")
        need(isinstance(stamp, dict) and set(stamp) == {"seconds", "microseconds"} and
             all(isinstance(v, int) for v in stamp.values()), f"event {name}", f"its timestamp: {message}")
        self._value(arguments, message.get("data", {}), f"event {name}")

    def _value(self, type_name, value, where):
        entry = self.by_name[type_name]
        getattr(self, "_" + entry["meta-type"])(entry, value, where)

    def _builtin(self, entry, value, where):
        kinds = JSON_TYPES.get(entry["json-type"])
        ok = kinds is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))
        need(ok, where, f"{value!r} is no {entry['json-type']}")

    def _enum(self, entry, value, where):
        need(value in [m["name"] for m in entry["members"]], where, f"{value!r} is none of {entry['values']}")

    def _array(self, entry, value, where):
        need(isinstance(value, list), where, f"{value!r} is no array")
        for i, item in enumerate(value):
            self._value(entry["element-type"], item, f"{where}[{i}]")

    def _alternate(self, entry, value, where):
        for member in entry["members"]:
            try:
                return self._value(member["type"], value, where)
            except SchemaError:
                pass
        raise SchemaError(f"{where}: {value!r} is none of the alternate's types")

    def _members(self, entry, value):
        """Those that an object with this value has: name -> its row."""
        found = {m["name"]: m for m in entry["members"]}
        for variant in entry.get("variants", ()):
            if variant["case"] == value.get(entry["tag"]):
                found.update(self._members(self.by_name[variant["type"]], value))
        return found

    def _object(self, entry, value, where):
        need(isinstance(value, dict), where, f"{value!r} is no object")
        members = self._members(entry, value)
        for name, member in members.items():
            need(name in value or "default" in member, where, f"'{name}' is missing in {value}")
        for name, item in value.items():
            need(name in members, where, f"'{name}' is not in the schema: {value}")
            self._value(members[name]["type"], item, f"{where}.{name}")


_of_programs = {}  # for this process's life: two servers of one program have one schema
_of_servers = {}


def _program(pid):
    found = os.stat(f"/proc/{pid}/exe")
    return found.st_dev, found.st_ino, found.st_mtime_ns


def of_server(sock, greeting, fetch):
    """The Schema of the server at `sock`, fetched by fetch() if nobody did so yet; None of a server that is not migd."""
    if "migd" not in greeting["QMP"]["version"]["package"]:
        return None
    pid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    server = pid, sock.getpeername()
    if server not in _of_servers:
        program = _program(pid)
        if program not in _of_programs:
            _of_programs[program] = Schema(fetch())
        _of_servers[server] = _of_programs[program]
    return _of_servers[server]
