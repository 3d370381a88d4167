#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""docs/qmp-compatibility.md says what of QEMU's commands, events and types is there: it is so."""

import os
import re

import migd_process
import migdtest

PAGE = os.path.join(migd_process.SOURCE_DIR, "docs/qmp-compatibility.md")


def table(heading):
    """The rows below a heading of the page: lists of cells."""
    with open(PAGE) as f:
        section = re.search(rf"^## {heading}$(.*?)^## ", f.read(), re.M | re.S)[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    assert len(rows) > 2, heading
    return rows[2:]


def words(cell):
    """`a` `b?` -> {"a": mandatory, "b": optional}"""
    return {word.rstrip("?"): not word.endswith("?") for word in re.findall(r"`([^`]+)`", cell)}


class Schema:
    def __init__(self, daemon):
        self.by_name = {e["name"]: e for e in daemon.qmp.command("query-qmp-schema")}
        self.commands = {c["name"] for c in daemon.qmp.command("query-commands")}

    def type(self, name):
        """What lists are of, if it is one."""
        entry = self.by_name[name]
        return self.type(entry["element-type"]) if entry["meta-type"] == "array" else entry

    def members(self, entry):
        """Its words, or its members: name -> whether it is mandatory."""
        if entry["meta-type"] == "enum":
            assert [m["name"] for m in entry["members"]] == entry["values"], entry
            return {m["name"]: True for m in entry["members"]}
        return {m["name"]: "default" not in m for m in entry["members"]}

    def at(self, path):
        """As libvirt looks for features: COMMAND/arg-type/MEMBER/..."""
        name, which, *rest = path.split("/")
        entry = self.type(self.by_name[name][which])
        for member in rest:
            entry = self.type(next(m["type"] for m in entry["members"] if m["name"] == member))
        return entry


def compare(t, what, said, there):
    for name, mandatory in said.items():
        t.check(name in there, f"{what}: '{name}' is not there, but {sorted(there)}")
        t.check(there[name] == mandatory, f"{what}: '{name}' is {'mandatory' if there[name] else 'optional'}")


def test_commands(t):
    schema = Schema(t.daemon("a"))
    listed = table("Commands")
    t.check(len(listed) > 40, f"{len(listed)} rows")
    for cell, there, arguments, _ in listed:
        (name,) = words(cell)
        t.check(there in ("yes", "no"), f"{name}: {there!r}")
        t.check((name in schema.commands) == (there == "yes"), f"{name}: query-commands does not agree with {there!r}")
        entry = schema.by_name.get(name)
        t.check((entry is not None) == (there == "yes"), f"{name}: query-qmp-schema does not agree with {there!r}")
        if there == "no":
            continue
        said, has = words(arguments), schema.members(schema.at(f"{name}/arg-type"))
        compare(t, name, said, has)
        # A client of QEMU says no more: nothing else may be mandatory.
        more = {n for n, mandatory in has.items() if mandatory} - set(said)
        t.check(not more, f"{name}: QEMU's clients do not know {more}")
    oob = {n for n, e in schema.by_name.items() if e.get("allow-oob")}
    t.check({"migrate-recover", "migrate-pause", "yank", "query-yank"} <= oob, f"out-of-band are {oob}")


def test_events(t):
    schema = Schema(t.daemon("a"))
    for cell, there, members, _ in table("Events"):
        (name,) = words(cell)
        t.check((schema.by_name.get(name, {}).get("meta-type") == "event") == (there == "yes"), f"{name}: {there!r}")
        if there == "yes":
            compare(t, name, words(members), schema.members(schema.at(f"{name}/arg-type")))


def test_types(t):
    schema = Schema(t.daemon("a"))
    for name, path, said in table("Types"):
        (path,) = words(path)
        compare(t, name, words(said), schema.members(schema.at(path)))


def test_introspection_is_as_clients_expect(t):
    """The form: names of types say nothing, nothing is listed that is not used, no member but those of its kind."""
    schema = Schema(t.daemon("a"))
    kinds = {"builtin": {"json-type"}, "enum": {"members", "values"}, "array": {"element-type"},
             "object": {"members", "tag", "variants"}, "alternate": {"members"},
             "command": {"arg-type", "ret-type", "allow-oob"}, "event": {"arg-type"}}
    used = set()
    for name, entry in schema.by_name.items():
        kind = entry["meta-type"]
        t.check(set(entry) <= {"name", "meta-type", "features"} | kinds[kind], f"{entry}")
        if kind == "array":
            t.check(name == f"[{entry['element-type']}]", f"{entry}")
        if kind in ("enum", "object", "alternate"):
            t.check(name.isdecimal(), f"a type's name shows: {name}")
        if kind == "builtin":
            t.check(name in ("str", "int", "number", "bool", "null", "any", "size"), f"a builtin: {entry}")
            t.check(entry["json-type"] != "int" or name == "int", f"integers are all shown as int: {entry}")
        for key in ("element-type", "arg-type", "ret-type"):
            used.add(entry.get(key))
        for member in entry.get("members", ()):
            used.add(member.get("type"))
            t.check(member.get("default") is None, f"{entry}")
        if kind == "object" and "tag" in entry:
            tag = next(m["type"] for m in entry["members"] if m["name"] == entry["tag"])
            t.check([v["case"] for v in entry["variants"]] == schema.by_name[tag]["values"], f"{name}: its variants")
            used.update(v["type"] for v in entry["variants"])
        t.check(entry.get("allow-oob", True) is True, f"{entry}")
    types = {n for n, e in schema.by_name.items() if e["meta-type"] not in ("command", "event")}
    t.check(types <= used, f"nothing uses {types - used}")
    t.check(schema.commands == {n for n, e in schema.by_name.items() if e["meta-type"] == "command"}, "the same commands")
    by_name = schema.by_name
    t.check("deprecated" in by_name["query-migrationthreads"].get("features", ()), "a deprecated command")
    detach = next(m for m in schema.at("migrate/arg-type")["members"] if m["name"] == "detach")
    t.check("deprecated" in detach.get("features", ()), f"{detach}")


migdtest.main(kvm=False)
