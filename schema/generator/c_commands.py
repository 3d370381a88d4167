# SPDX-License-Identifier: Apache-2.0
"""commands.h, commands.c, events.h, events.c: the handlers' declarations and table, and the events' functions."""

from .c_text import comment, header, include_guard
from .c_types import c_type, declare_member, declare_members, member_table, table_name
from .names import snake


def argument_members(command):
    """The members besides those of the struct that 'data' names."""
    return ([command.guest] if command.scope else []) + ([] if command.data_type else command.members)


class Commands:
    """commands.h and commands.c"""

    def __init__(self, schema, sources):
        self.commands = schema.commands.values()
        self.by_name = schema.commands
        self.sources = sources

    def header(self):
        body = ['#include "schema/types.h"', '', 'struct qmp_call;', '',
                '/*',
                ' * The handlers. Whoever links the table of commands defines them all. ARGS is valid until the handler returns; the call',
                ' * is answered by qmp_return() or qmp_fail(), then or later.', ' */', '']
        for c in self.commands:
            if not c.alias:
                body += self._declare(c)
        body += ['/* X(name) for each handler cmd_name() of the table, to define all of them alike: tests. */', '#define QMP_HANDLERS(X) \\',
                 *(f'\tX({snake(c.name)}) \\' for c in self.commands if not c.alias and not c.builtin), '']
        lines = header(self.sources, "The commands' arguments and handlers.")
        return '\n'.join(lines + include_guard('commands', body)) + '\n'

    @staticmethod
    def _declare(c):
        name = snake(c.name)
        lines = [*comment(f'{c.name}: {c.doc}'), f'struct {name}_args {{']
        lines += [line for m in argument_members(c) for line in declare_member(m)]
        if c.boxed:
            lines.append(f'\t{c_type(c.data_type)}data;')
        elif c.data_type:
            lines += ['\t/* The same twice: as a struct, and member by member. */', '\tunion {',
                      f'\t\t{c_type(c.data_type)}data;', '\t\tstruct {', *declare_members(c.data_type.members, '\t\t\t'),
                      '\t\t};', '\t};']
        elif not argument_members(c):
            lines.append('\tchar unused;')
        return lines + ['};', f'void cmd_{name}(struct qmp_call *call,',
                        f'\t\tconst struct {name}_args *args);', '']

    def source(self):
        return self._table('qmp_commands', False, 'qmp/server.h', 'The table of commands.')

    def builtin_source(self):
        return self._table('qmp_builtin_commands', True, 'qmp/builtin.h', 'The table of commands that qmp/ answers.')

    def _table(self, table, builtin, include, purpose):
        lines = header(self.sources, purpose)
        lines += ['#include "schema/commands.h"', '', f'#include "{include}"', '']
        commands = [c for c in self.commands if (self.by_name[c.alias] if c.alias else c).builtin == builtin]
        for c in commands:
            if not c.alias:
                lines += self._dispatch(c)
        lines.append(f'const struct qmp_command {table}[] = {{')
        for c in commands:
            target = self.by_name[c.alias] if c.alias else c
            flags = (['.allow_oob = true'] if target.allow_oob else []) + (
                ['.guest_scoped = true'] if target.scope else []) + (
                ['.host_scoped = true'] if target.is_host else []) + [f'.access = QMP_ACCESS_{target.access.upper()}']
            lines += ['\t{ ' + ', '.join([f'.name = "{c.name}"', *flags]) + ',',
                      f'\t  .dispatch = dispatch_{snake(target.name)} }},']
        return '\n'.join(lines + ['\t{ .name = NULL }', '};']) + '\n'

    @staticmethod
    def _dispatch(c):
        name = snake(c.name)
        if c.boxed:
            return Commands._dispatch_function(name, table_name(c.data_type), 'data')
        members = argument_members(c)
        all_members = members + (c.data_type.members if c.data_type else [])
        args = f'{name}_args'
        lines = member_table(args, all_members, f'struct {args}')
        lines += [f'static const struct schema_type {args}_type = {{',
                  f'\t.name = "{c.name}", .kind = SCHEMA_STRUCT,', f'\t.size = sizeof(struct {args}),']
        if all_members:
            lines.append(f'\t.members = {args}_members, .n_members = {len(all_members)},')
        return lines + ['};', '', *Commands._dispatch_function(name, f'{args}_type', '')]

    @staticmethod
    def _dispatch_function(name, type_table, member):
        """Make the arguments, or their `member`, of JSON, and call the handler."""
        target = 'args' + ('.' + member if member else '')
        return [f'static int dispatch_{name}(struct qmp_call *call, json_t *j, struct merr *err)', '{',
                f'\tstruct {name}_args args = {{ 0 }};', f'\tint r = schema_from_json(&{type_table}, j, &{target}, err);', '',
                '\tif (r < 0)', '\t\treturn r;', f'\tcmd_{name}(call, &args);',
                f'\tschema_done(&{type_table}, &{target});', '\treturn 0;', '}', '']


class Events:
    """events.h and events.c"""

    def __init__(self, schema, sources):
        self.events = schema.events.values()
        self.sources = sources

    @staticmethod
    def _prototype(e):
        args = ['struct qmp_server *s']
        if e.scope:
            args.append(f'const char *{e.guest.c_name}')
        if e.data_type:
            args.append(f'const {c_type(e.data_type)}*data')
        for m in e.members:
            if m.optional:
                args.append(f'bool has_{m.c_name}')
            args.append(Events._argument(m))
        head = f'void event_{snake(e.name)}('
        lines, line = [], head
        for i, a in enumerate(args):
            a += ',' if i + 1 < len(args) else ')'
            if len(line) + len(a) > 92:
                lines.append(line.rstrip())
                line = '\t\t'
            line += a + ' '
        return lines + [line.rstrip()]

    @staticmethod
    def _argument(m):
        if m.array:
            return f'size_t n_{m.c_name}, const {c_type(m.type)}*{m.c_name}'
        if m.type.name == 'str':
            return f'const char *{m.c_name}'
        if m.type.kind in ('struct', 'union', 'alternate'):
            return f'const {c_type(m.type)}*{m.c_name}'
        return f'{c_type(m.type)}{m.c_name}'

    def header(self):
        body = ['#include "schema/types.h"', '', 'struct qmp_server;', '']
        for e in self.events:
            note = f'{e.name}: {e.doc}'
            if e.scope:
                note += f' {e.guest.c_name.upper()}: whose it is, or NULL.'
            lines = self._prototype(e)
            lines[-1] += ';'
            body += comment(note) + lines + ['']
        lines = header(self.sources, 'The events.')
        return '\n'.join(lines + include_guard('events', body)) + '\n'

    def source(self):
        lines = header(self.sources, 'The events.')
        lines += ['#include "schema/events.h"', '', '#include "qmp/server.h"', '']
        for e in self.events:
            lines += self._event(e)
        return '\n'.join(lines) + '\n'

    def _event(self, e):
        name = snake(e.name)
        guest = e.guest.c_name if e.scope else 'NULL'
        members = ([e.guest] if e.scope else []) + (e.data_type.members if e.data_type else e.members)
        if not members:
            return [*self._prototype(e), '{', f'\tqmp_server_event(s, "{e.name}", NULL, NULL);', '}', '']
        lines = [f'struct {name}_event {{', *(line for m in members for line in declare_member(self._bare(m))), '};', '']
        lines += member_table(f'{name}_event', members, f'struct {name}_event')
        lines += [f'static const struct schema_type {name}_event_type = {{',
                  f'\t.name = "{e.name}", .kind = SCHEMA_STRUCT,', f'\t.size = sizeof(struct {name}_event),',
                  f'\t.members = {name}_event_members, .n_members = {len(members)},', '};', '']
        lines += [*self._prototype(e), '{', f'\tstruct {name}_event event = {{']
        if e.scope:
            lines += [f'\t\t.has_{guest} = {guest}, .{guest} = (char *)(uintptr_t){guest},']
        for m in e.data_type.members if e.data_type else e.members:
            lines += self._assign(m, 'data->' if e.data_type else '')
        lines += ['\t};', f'\tjson_t *j = schema_to_json(&{name}_event_type, &event);', '',
                  f'\tqmp_server_event(s, "{e.name}", {guest}, j && json_object_size(j) ? j : NULL);',
                  '\tjson_decref(j);', '}', '']
        return lines

    @staticmethod
    def _bare(m):
        """The member without its comment."""
        copy = type(m)(('*' if m.optional else '') + m.name, m.where)
        copy.type, copy.array = m.type, m.array
        return copy

    @staticmethod
    def _assign(m, prefix):
        lines = [f'\t\t.has_{m.c_name} = {prefix}has_{m.c_name},'] if m.optional else []
        if m.array:
            lines.append(f'\t\t.n_{m.c_name} = {prefix}n_{m.c_name},')
        value = prefix + m.c_name
        if m.array or m.type.name == 'str':
            value = f'({c_type(m.type).strip()}{" *" if m.array else ""})(uintptr_t){value}'
        elif m.type.kind in ('struct', 'union', 'alternate') and not prefix:
            value = f'has_{m.c_name} ? *{value} : ({c_type(m.type).strip()}){{ 0 }}' if m.optional else f'*{value}'
        return lines + [f'\t\t.{m.c_name} = {value},']
