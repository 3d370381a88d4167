# SPDX-License-Identifier: Apache-2.0
"""introspect.c: the answer of query-qmp-schema. Shape: QMP.md 2.8."""

import json

from .c_text import header, include_guard


class Introspection:
    """Names types by numbers, in the order in which commands and events need them; lists only what is reachable."""

    def __init__(self, schema):
        self.schema = schema
        self.entries = []
        self.numbers = {}
        self.listed = set()
        self.queue = []

    def build(self):
        for c in self.schema.commands.values():
            self._command(c)
        for e in self.schema.events.values():
            self._entry(e.name, 'event', e.features, {'arg-type': self._arguments(e)})
        while self.queue:
            number, t = self.queue.pop(0)
            self._type(number, t)
        return self.entries

    def _entry(self, name, meta_type, features, members):
        self.entries.append({'name': name, 'meta-type': meta_type, **members,
                             **({'features': features} if features else {})})

    def _command(self, c):
        target = self.schema.commands[c.alias] if c.alias else c
        returns = self._name(*target.returns) if target.returns else self._object(('empty',), [])
        self._entry(c.name, 'command', c.features, {
            'arg-type': self._arguments(target), 'ret-type': returns,
            **({'allow-oob': True} if target.allow_oob else {})})

    def _arguments(self, d):
        members = (d.data_type.members if d.data_type else d.members) + ([d.guest] if d.scope else [])
        if not members:
            return self._object(('empty',), [])
        if d.data_type and not d.scope:
            return self._name(d.data_type, False)
        return self._object(('arguments', d.name), members)

    def _object(self, key, members):
        """An object without a name of its own."""
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = str(len(self.numbers))
            self.queue.append((number, members))
        return number

    def _name(self, t, array):
        if t.kind == 'builtin':
            name = 'int' if t.is_int else t.name
            self._once(name, 'builtin', {'json-type': t.json})
        else:
            name = self.numbers.get(t.name)
            if name is None:
                name = self.numbers[t.name] = str(len(self.numbers))
                self.queue.append((name, t))
        if array:
            self._once(f'[{name}]', 'array', {'element-type': name})
            name = f'[{name}]'
        return name

    def _once(self, name, meta_type, members):
        if name not in self.listed:
            self.listed.add(name)
            self._entry(name, meta_type, [], members)

    def _member(self, m):
        return {'name': m.name, 'type': self._name(m.type, m.array),
                **({'default': None} if m.optional else {}), **({'features': m.features} if m.features else {})}

    def _type(self, number, t):
        if isinstance(t, list):
            self._entry(number, 'object', [], {'members': [self._member(m) for m in t]})
        elif t.kind == 'enum':
            members = [{'name': w, **({'features': f} if f else {})} for w, f, _ in t.words]
            self._entry(number, 'enum', t.features, {'members': members, 'values': [w for w, _, _ in t.words]})
        elif t.kind == 'alternate':
            members = [{'type': self._name(m.type, m.array)} for m in t.members]
            self._entry(number, 'alternate', t.features, {'members': members})
        else:
            self._entry(number, 'object', t.features, self._struct(t))

    def _struct(self, t):
        result = {'members': [self._member(m) for m in t.members]}
        if t.kind == 'union':
            result['tag'] = t.tag.name
            result['variants'] = [
                {'case': w, 'type': self._name(t.branches[w], False) if w in t.branches
                 else self._object(('empty',), [])} for w, _, _ in t.tag.type.words]
        return result


def c_header(sources):
    body = ['#include <jansson.h>', '', '/* The SchemaInfo list, a new reference; NULL without memory. */',
            'json_t *schema_introspect(void);']
    return '\n'.join(header(sources, 'The schema, for query-qmp-schema.') + include_guard('introspect', body)) + '\n'


def c_source(schema, sources):
    rows = [json.dumps(entry) for entry in Introspection(schema).build()]
    quoted = ['\t"' + row.replace('\\', '\\\\').replace('"', '\\"') + '",' for row in rows]
    lines = header(sources, 'The schema, for query-qmp-schema.')
    lines += ['#include "schema/introspect.h"', '', '#include <stddef.h>', '',
              '/* One SchemaInfo each. */', 'static const char *const entries[] = {', *quoted, '};', '',
              'json_t *schema_introspect(void)', '{', '\tjson_t *list = json_array();', '\tsize_t i;', '',
              '\tfor (i = 0; list && i < sizeof(entries) / sizeof(entries[0]); i++) {',
              '\t\tif (json_array_append_new(list, json_loads(entries[i], 0, NULL)) < 0) {', '\t\t\tjson_decref(list);',
              '\t\t\tlist = NULL;', '\t\t}', '\t}', '\treturn list;', '}']
    return '\n'.join(lines) + '\n'
