# SPDX-License-Identifier: Apache-2.0
"""types.h and types.c: C types, and their tables."""

import json

from .c_text import comment, header, include_guard
from .names import c_constant, c_member, snake


def c_type(t):
    """The C type, ready to be followed by a name."""
    if t.kind == 'builtin':
        return t.c_type
    return ('enum ' if t.kind == 'enum' else 'struct ') + snake(t.name) + ' '


def declare_member(m, indent='\t'):
    """The declarations of a member of a struct."""
    lines = []
    if m.optional:
        lines.append(f'{indent}bool has_{m.c_name};')
    note = ' '.join(filter(None, [m.doc, f'[{m.unit}]' if m.unit else '']))
    for line in comment(note, indent) if note else []:
        lines.append(line)
    if m.array:
        lines.append(f'{indent}size_t n_{m.c_name};')
        lines.append(f'{indent}{c_type(m.type)}*{m.c_name};')
    else:
        lines.append(f'{indent}{c_type(m.type)}{m.c_name};')
    return lines


def declare_members(members, indent='\t'):
    lines = [line for m in members for line in declare_member(m, indent)]
    return lines or [f'{indent}char unused;']


def table_name(t):
    return f'schema_type_{t.name}' if t.kind == 'builtin' else f'{snake(t.name)}_type'


def member_row(m, c_struct, prefix=''):
    fields = [f'"{m.name}"', f'&{table_name(m.type)}', f'.offset = offsetof({c_struct}, {prefix}{m.c_name})']
    if m.optional:
        fields += ['.optional = true', f'.offset_has = offsetof({c_struct}, {prefix}has_{m.c_name})']
    if m.array:
        fields += ['.array = true', f'.offset_n = offsetof({c_struct}, {prefix}n_{m.c_name})']
    if m.unit:
        fields.append(f'.unit = "{m.unit}"')
    if m.restart:
        fields += ['.restart = true']
    lines, line = [], '\t{ ' + fields[0]
    for f in fields[1:]:
        if len(line) + len(f) > 92:
            lines.append(line + ',')
            line = '\t  ' + f
        else:
            line += ', ' + f
    return lines + [line + ' },']


def member_table(name, members, c_struct, prefix=''):
    if not members:
        return []
    rows = [row for m in members for row in member_row(m, c_struct, prefix)]
    return [f'static const struct schema_member {name}_members[] = {{', *rows, '};', '']


def function_names(t):
    name = snake(t.name)
    return name, f'struct {name}'


class Header:
    """types.h"""

    def __init__(self, schema, sources):
        self.schema = schema
        self.lines = header(sources, 'The types of the control plane and of the worker link.')

    def text(self):
        types = self.schema.ordered_types
        body = ['#include <jansson.h>', '#include <stdbool.h>', '#include <stddef.h>', '#include <stdint.h>', '',
                '#include "base/err.h"', '#include "schema/reflect.h"', '']
        for t in [t for t in types if t.kind == 'enum']:
            body += self._enum(t)
        for t in [t for t in types if t.kind != 'enum']:
            body += getattr(self, '_' + t.kind)(t) + self._functions(t)
        body += ['/* All types above, ended by NULL: for tests and tools. */',
                 'extern const struct schema_type *const schema_types[];', '']
        return '\n'.join(self.lines + include_guard('types', body)) + '\n'

    @staticmethod
    def _enum(t):
        name = snake(t.name)
        lines = [*comment(t.doc), f'enum {name} {{', f'\t{c_constant(t.name, "_INVALID")} = 0,']
        for i, (word, _, doc) in enumerate(t.words):
            lines += comment(doc, '\t') if doc else []
            lines.append(f'\t{c_constant(t.name, word)} = {i + 1},')
        return lines + [f'\t{c_constant(t.name, "_MAX")}', '};', f'extern const struct schema_type {name}_type;',
                        f'const char *{name}_str(enum {name} v);',
                        f'int {name}_parse(const char *s, enum {name} *ret);', '']

    @staticmethod
    def _struct(t):
        return [*comment(t.doc), f'struct {snake(t.name)} {{', *declare_members(t.members), '};']

    @staticmethod
    def _union(t):
        lines = [*comment(t.doc), f'struct {snake(t.name)} {{', *declare_members(t.members), '\tunion {']
        for word, branch in t.branches.items():
            lines.append(f'\t\t{c_type(branch)}{c_member(word)};')
        return lines + ['\t} u;', '};']

    @staticmethod
    def _alternate(t):
        name = snake(t.name)
        lines = [f'enum {name}_kind {{', f'\t{name.upper()}_KIND__INVALID = 0,']
        for m in t.members:
            lines.append(f'\t{name.upper()}_KIND_{m.c_name.upper().rstrip("_")},')
        lines += ['};', *comment(t.doc), f'struct {name} {{', f'\tenum {name}_kind kind;', '\tunion {']
        for m in t.members:
            if m.type.name != 'null':
                lines += declare_member(m, '\t\t')
        return lines + ['\t} u;', '};']

    @staticmethod
    def _functions(t):
        name, c = function_names(t)
        lines = [f'extern const struct schema_type {name}_type;']
        if t.kind == 'alternate':
            return lines + ['']
        lines += [f'json_t *{name}_to_json(const {c} *v);',
                  f'int {name}_from_json(json_t *j, {c} *ret, struct merr *err);',
                  f'void {name}_done({c} *v);', f'int {name}_copy({c} *dst, const {c} *src);']
        if t.kind == 'struct' and t.has_rules:
            lines += ['/* The members that have defaults; -ENOMEM: RET is zeroed. */', f'int {name}_defaults({c} *ret);',
                      '/* The ranges of the members that are set. */',
                      f'int {name}_check(const {c} *v, struct merr *err);',
                      '/* Copy the members that are set; -ENOMEM: DST is untouched. */',
                      f'int {name}_merge({c} *dst, const {c} *src);']
        return lines + ['']


class Source:
    """types.c"""

    def __init__(self, schema, sources):
        self.schema = schema
        self.lines = header(sources, 'The tables of the schema\'s types.')

    def text(self):
        lines = self.lines + ['#include "schema/types.h"', '', '#include <errno.h>', '']
        for t in self.schema.ordered_types:
            lines += getattr(self, '_' + t.kind)(t)
        lines += ['const struct schema_type *const schema_types[] = {']
        lines += [f'\t&{table_name(t)},' for t in self.schema.ordered_types]
        return '\n'.join(lines + ['\tNULL', '};']) + '\n'

    @staticmethod
    def _enum(t):
        name = snake(t.name)
        words = [f'\t[{c_constant(t.name, w)}] = "{w}",' for w, _, _ in t.words]
        return [f'static const char *const {name}_words[] = {{', *words, '};', '',
                f'const struct schema_type {name}_type = {{', f'\t.name = "{t.name}", .kind = SCHEMA_ENUM, .size = sizeof(enum {name}),',
                f'\t.words = {name}_words, .n_words = {c_constant(t.name, "_MAX")},', '};', '',
                f'const char *{name}_str(enum {name} v)', '{', f'\treturn schema_enum_str(&{name}_type, v);', '}', '',
                f'int {name}_parse(const char *s, enum {name} *ret)', '{', '\tunsigned int v;',
                f'\tint r = schema_enum_parse(&{name}_type, s, &v);', '', '\tif (r == 0)', f'\t\t*ret = (enum {name})v;',
                '\treturn r;', '}', '']

    @staticmethod
    def _type_row(t, kind, extra=()):
        name, c = function_names(t)
        lines = [f'const struct schema_type {name}_type = {{', f'\t.name = "{t.name}", .kind = {kind}, .size = sizeof({c}),']
        if t.members:
            lines.append(f'\t.members = {name}_members, .n_members = {len(t.members)},')
        if t.internal:
            lines.append('\t.tolerant = true,')
        return lines + [f'\t{x},' for x in extra] + ['};', '']

    def _struct(self, t):
        name, c = function_names(t)
        rules, extra = self._rules(t) if t.has_rules else ([], [])
        return (member_table(name, t.members, c) + rules + self._type_row(t, 'SCHEMA_STRUCT', extra) + self._functions(t)
                + (self._rule_functions(t) if t.has_rules else []))

    def _union(self, t):
        name, c = function_names(t)
        branches = [f'\t[{c_constant(t.tag.type.name, w)}] = &{table_name(b)},' for w, b in t.branches.items()]
        size = c_constant(t.tag.type.name, '_MAX')
        lines = member_table(name, t.members, c)
        lines += [f'static const struct schema_type *const {name}_branches[{size}] = {{', *branches, '};', '']
        extra = [f'.tag = &{name}_members[{t.members.index(t.tag)}], .branches = {name}_branches',
                 f'.offset_u = offsetof({c}, u)']
        return lines + self._type_row(t, 'SCHEMA_UNION', extra) + self._functions(t)

    def _alternate(self, t):
        name, c = function_names(t)
        rows = []
        for m in t.members:
            value = 'u' if m.type.name == 'null' else f'u.{m.c_name}'
            rows.append(f'\t{{ "{m.name}", &{table_name(m.type)}, .offset = offsetof({c}, {value}) }},')
        return ([f'static const struct schema_member {name}_members[] = {{', *rows, '};', '']
                + self._type_row(t, 'SCHEMA_ALTERNATE'))

    @staticmethod
    def _functions(t):
        name, c = function_names(t)
        return [f'json_t *{name}_to_json(const {c} *v)', '{', f'\treturn schema_to_json(&{name}_type, v);', '}', '',
                f'int {name}_from_json(json_t *j, {c} *ret, struct merr *err)', '{',
                f'\treturn schema_from_json(&{name}_type, j, ret, err);', '}', '',
                f'void {name}_done({c} *v)', '{', f'\tschema_done(&{name}_type, v);', '}', '',
                f'int {name}_copy({c} *dst, const {c} *src)', '{', f'\treturn schema_copy(&{name}_type, dst, src);',
                '}', '']

    def _rules(self, t):
        """The tables of ranges and defaults, and what the type's own says of them."""
        name = snake(t.name)
        defaults = {m.name: m.default for m in t.members if m.has_default}
        rows = [row for m in t.members if m.has_rule for row in self._rule(t, m)]
        lines, extra = [], [f'.defaults = {name}_default_values']
        if rows:
            lines += [f'static const struct schema_rule {name}_rules[] = {{', *rows, '};', '']
            extra.append(f'.rules = {name}_rules, .n_rules = sizeof({name}_rules) / sizeof({name}_rules[0])')
        return lines + [f'static const char {name}_default_values[] =', *default_text(defaults), ''], extra

    @staticmethod
    def _rule_functions(t):
        name, c = function_names(t)
        return [f'int {name}_defaults({c} *ret)', '{', f'\treturn schema_defaults(&{name}_type, ret);', '}', '',
                f'int {name}_check(const {c} *v, struct merr *err)', '{',
                f'\treturn schema_check({name}_type.rules, {name}_type.n_rules, v, err);', '}', '',
                f'int {name}_merge({c} *dst, const {c} *src)', '{',
                f'\treturn schema_merge(&{name}_type, dst, src);', '}', '']

    @staticmethod
    def _rule(t, m):
        name = snake(t.name)
        low = m.min if isinstance(m.min, int) else 0
        high = m.max if m.max is not None else m.type.bounds()[1]
        fields = [f'&{name}_members[{t.members.index(m)}]', f'{low}U', f'{high}U']
        if isinstance(m.min, str):
            other = next(o for o in t.members if o.name == m.min)
            fields.append(f'.min_member = &{name}_members[{t.members.index(other)}]')
        if m.power_of_two:
            fields.append('.power_of_two = true')
        return ['\t{ ' + ', '.join(fields) + ',', f'\t  .expects = "{expects(m)}" }},']


def expects(m):
    """What a range error says after `expects`."""
    unit = {'ms': ' milliseconds', '%': ' percent', 's': ' seconds', None: ''}.get(m.unit, ' ' + str(m.unit))
    if m.power_of_two:
        return f'a power of two of at least {m.min or 1}{unit}'
    low = f"the value of '{m.min.replace('-', '_')}'" if isinstance(m.min, str) else str(m.min or 0)
    if m.max is None:
        return f'a value of at least {low}{unit}'
    return f'a value between {low} and {m.max}{unit}'


def default_text(defaults):
    """A JSON object as a C string, one member a line."""
    rows = [json.dumps(k) + ': ' + json.dumps(v) for k, v in defaults.items()]
    rows = [row + (', ' if i + 1 < len(rows) else '') for i, row in enumerate(rows)]
    quoted = ['\t"' + row.replace('\\', '\\\\').replace('"', '\\"') + '"' for row in rows]
    return ['\t"{"', *quoted, '\t"}";']
