# SPDX-License-Identifier: Apache-2.0
"""qmp-reference.md: commands, events and types for people."""

import json
import re

UNITS = {'us': 'µs'}


def type_name(t, array, link=True):
    name = f'[{t.name}](#{t.name.lower()})' if link and t.kind != 'builtin' else t.name
    return f'[ {name} ]' if array else name


def member_notes(m):
    notes = []
    if m.unit:
        notes.append(UNITS.get(m.unit, m.unit))
    if m.has_default:
        notes.append(f'default {json.dumps(m.default)}')
    if m.min is not None or m.max is not None:
        notes.append(f'{m.min if m.min is not None else "any"} to {m.max if m.max is not None else "any"}')
    if m.power_of_two:
        notes.append('a power of two')
    if m.restart:
        notes.append('taken when migd starts')
    return notes + m.features


class Reference:
    """The page. Types are those that commands and events use; internal ones are left out."""

    def __init__(self, schema):
        self.schema = schema

    def text(self):
        lines = ['# QMP reference', '', 'Generated from the schema. Optional members are marked `?`. How commands, answers and '
                 'events travel is in the description of the protocol.', '', '## Commands', '']
        for c in sorted(self.schema.commands.values(), key=lambda c: c.name):
            lines += self._command(c)
        lines += ['## Events', '']
        for e in sorted(self.schema.events.values(), key=lambda e: e.name):
            lines += self._event(e)
        lines += ['## Types', '']
        for t in sorted(self.schema.types.values(), key=lambda t: t.name):
            if not t.internal:
                lines += self._type(t)
        # References to members, as in "@uri", are written as code.
        return re.sub(r'(?<![\w`])@([A-Za-z][\w-]*)', r'`\1`', '\n'.join(lines).rstrip()) + '\n'

    @staticmethod
    def _head(d):
        features = f' ({", ".join(d.features)})' if d.features else ''
        return [f'### {d.name}', '', d.doc + features, '']

    @staticmethod
    def _table(members):
        if not members:
            return []
        lines = ['| member | type | | meaning |', '| --- | --- | --- | --- |']
        for m in members:
            lines.append(f'| `{m.name}`{"?" if m.optional else ""} | {type_name(m.type, m.array)} | '
                         f'{", ".join(member_notes(m))} | {m.doc} |')
        return lines + ['']

    def _data(self, d):
        lines = []
        if d.data_type:
            lines += [f'The members of {type_name(d.data_type, False)}' + (', and:' if d.scope else '.'), '']
        return lines + self._table(d.members + ([d.guest] if d.scope else []))

    def _command(self, c):
        lines = self._head(c)
        if c.alias:
            return lines
        lines += self._data(c)
        if c.returns:
            lines += [f'Returns {type_name(*c.returns)}: {c.sections.get("Returns", "")}', '']
        if 'Errors' in c.sections:
            lines += [f'Errors: {c.sections["Errors"]}', '']
        return lines + [f'Class: {c.access}.' + (' May be run out of band (`exec-oob`).' if c.allow_oob else '') +
                        (" Not on a guest's own socket." if c.is_host else ''), '']

    def _event(self, e):
        return self._head(e) + self._data(e)

    def _type(self, t):
        lines = self._head(t)
        if t.kind == 'enum':
            lines += ['| word | meaning |', '| --- | --- |']
            lines += [f'| `{w}` | {doc}{" (" + ", ".join(f) + ")" if f else ""} |' for w, f, doc in t.words]
            return lines + ['']
        lines += self._table(t.members)
        for word, branch in getattr(t, 'branches', {}).items():
            lines += [f'If `{t.tag.name}` is `{word}`: also the members of {type_name(branch, False)}.', '']
        return lines
