# SPDX-License-Identifier: Apache-2.0
"""What a schema says, checked: types, commands, events."""

import difflib
import re

from .names import c_member, snake
from .parser import Doc, Object, SchemaError

GUEST_DOC = 'the guest; not needed on its own socket, or if there is only one'


class Builtin:
    """A built-in type. JSON: what introspection shows, and what an alternate tells apart."""

    kind = 'builtin'

    def __init__(self, name, c_type, json, bits=None, signed=False):
        self.name = name
        self.c_type = c_type
        self.json = json
        self.bits = bits
        self.signed = signed

    @property
    def is_int(self):
        return self.bits is not None

    def bounds(self):
        if self.signed:
            return -(1 << self.bits - 1), (1 << self.bits - 1) - 1
        return 0, (1 << self.bits) - 1


BUILTINS = {b.name: b for b in (
    Builtin('str', 'char *', 'string'), Builtin('bool', 'bool ', 'boolean'),
    Builtin('number', 'double ', 'number'), Builtin('int', 'int64_t ', 'int', 64, True),
    *(Builtin(f'int{n}', f'int{n}_t ', 'int', n, True) for n in (8, 16, 32, 64)),
    *(Builtin(f'uint{n}', f'uint{n}_t ', 'int', n) for n in (8, 16, 32, 64)),
    Builtin('size', 'uint64_t ', 'int', 64), Builtin('any', 'json_t *', 'value'),
    Builtin('null', None, 'null'))}


class Member:
    """A member of a struct, union, command or event."""

    def __init__(self, name, where):
        self.optional = name.startswith('*')
        self.name = name.removeprefix('*')
        self.c_name = c_member(self.name)
        self.where = where
        self.type = None
        self.array = False
        self.has_default = False
        self.default = None
        self.min = self.max = None	# a number; min also another member's name
        self.power_of_two = False
        self.restart = False	# a setting of the daemon that is taken when it starts
        self.unit = None
        self.features = []
        self.doc = ''

    @property
    def has_rule(self):
        return self.min is not None or self.max is not None or self.power_of_two


class Definition:
    """Anything with a name."""

    def __init__(self, expression):
        self.name = expression.name
        self.where = expression.where
        self.kind = expression.kind
        self.expression = expression
        self.internal = expression.internal
        self.features = expression.body.get('features', [])
        self.doc = ''
        self.sections = {}


class Enum(Definition):
    def __init__(self, expression):
        super().__init__(expression)
        self.words = []		# (word, features, doc)


class Struct(Definition):
    def __init__(self, expression):
        super().__init__(expression)
        self.members = []	# its base's first
        self.base = None

    @property
    def has_rules(self):
        """A set of settings: it gets functions for defaults, ranges and merging."""
        return any(m.has_default or m.has_rule for m in self.members) and all(m.optional for m in self.members)


class Union(Struct):
    def __init__(self, expression):
        super().__init__(expression)
        self.tag = None
        self.branches = {}	# word -> Struct or Union


class Alternate(Definition):
    def __init__(self, expression):
        super().__init__(expression)
        self.members = []


class Command(Definition):
    def __init__(self, expression):
        super().__init__(expression)
        self.members = []
        self.data_type = None	# when 'data' names a struct or a union
        self.boxed = False	# it is a union
        self.returns = None	# (type, array)
        self.alias = None
        self.allow_oob = False
        self.builtin = False	# answered inside qmp/
        self.scope = None
        self.is_host = False	# about the whole host: refused on a guest's own socket
        self.access = None	# who may give it: one of ACCESS


class Event(Definition):
    def __init__(self, expression):
        super().__init__(expression)
        self.members = []
        self.data_type = None
        self.scope = None
        self.guest_member = 'guest'


CLASSES = {'enum': Enum, 'struct': Struct, 'union': Union, 'alternate': Alternate, 'command': Command,
           'event': Event}
# Keys of each kind: those it must have, those it may have.
KEYS = {
    'enum': (('data',), ('features',)),
    'struct': (('data',), ('base', 'features')),
    'union': (('base', 'discriminator', 'data'), ('features',)),
    'alternate': (('data',), ('features',)),
    'command': ((), ('data', 'returns', 'scope', 'allow-oob', 'builtin', 'alias', 'access', 'features')),
    'event': ((), ('data', 'scope', 'guest-member', 'features')),
}
NAMES = {
    'enum': (r'[A-Z]\w*$', 'CamelCase'), 'struct': (r'[A-Z]\w*$', 'CamelCase'),
    'union': (r'[A-Z]\w*$', 'CamelCase'), 'alternate': (r'[A-Z]\w*$', 'CamelCase'),
    'command': (r'[a-z][a-z0-9_-]*$', 'lower-case-with-dashes'),
    'event': (r'[A-Z][A-Z0-9_]*$', 'UPPER_CASE'),
}
# Who may give a command, by class. Without 'access', a command whose name begins with query- is 'read', any other 'operate'.
ACCESS = ('read', 'operate', 'admin', 'privileged')
MEMBER_KEYS = ('type', 'default', 'min', 'max', 'unit', 'power-of-two', 'restart', 'features')
FEATURES = ('deprecated', 'unstable')


def quoted(names):
    return ', '.join(f"'{n}'" for n in names)


def similar(name, names):
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean '{close[0]}'?" if close else ''


class Schema:
    """All definitions, in the order of the files."""

    def __init__(self, expressions):
        self.types = {}
        self.commands = {}
        self.events = {}
        self._c_names = {}
        for e in expressions:
            self._declare(e)
        for d in self.definitions():
            self._define(d)
        for d in self.definitions():
            self._flatten(d)
        self.ordered_types = self._order()
        for d in self.definitions():
            self._check_members(d)
            self._check_values(d)
        for d in self.definitions():
            self._check_doc(d)

    def definitions(self):
        return [*self.types.values(), *self.commands.values(), *self.events.values()]

    # Pass 1: names and keys.

    def _declare(self, e):
        if not isinstance(e.name, str):
            raise SchemaError(e.where, f"the name after '{e.kind}' is a string")
        pattern, style = NAMES[e.kind]
        if not re.match(pattern, e.name):
            raise SchemaError(e.where, f"'{e.name}': the name of {an(e.kind)} is written in {style}")
        table = {'command': self.commands, 'event': self.events}.get(e.kind, self.types)
        if e.name in BUILTINS:
            raise SchemaError(e.where, f"'{e.name}' is a built-in type")
        for other in (self.types, self.commands, self.events):
            if e.name in other:
                raise SchemaError(e.where, f"'{e.name}' is defined twice; first at {other[e.name].where}")
        c_name = (e.kind if e.kind in ('command', 'event') else 'type', snake(e.name))
        if c_name in self._c_names:
            raise SchemaError(e.where, f"'{e.name}' and '{self._c_names[c_name]}' have the same name in C: {c_name[1]}")
        self._c_names[c_name] = e.name
        need, may = KEYS[e.kind]
        for key in need:
            if key not in e.body:
                raise SchemaError(e.where, f"{e.kind} '{e.name}' lacks '{key}'")
        for key in e.body:
            if key != e.kind and key not in need + may:
                raise SchemaError(e.body.member_where[key], f"{e.kind} '{e.name}' has an unknown key '{key}'"
                                  f"; known are {quoted(need + may)}")
        table[e.name] = CLASSES[e.kind](e)
        self._features(e.body.get('features', []), e.where, f"{e.kind} '{e.name}'")

    @staticmethod
    def _features(features, where, of):
        if not isinstance(features, list):
            raise SchemaError(where, f"{of}: 'features' is a list")
        for f in features:
            if f not in FEATURES:
                raise SchemaError(where, f"{of}: unknown feature '{f}'; known are {quoted(FEATURES)}")

    # Pass 2: what is inside each definition.

    def _define(self, d):
        getattr(self, '_define_' + d.kind)(d, d.expression.body)

    def _type(self, value, where, of):
        """(type, array) of a type expression."""
        array = isinstance(value, list)
        if array and len(value) != 1:
            raise SchemaError(where, f"{of}: an array is written ['TYPE'], with one type")
        name = value[0] if array else value
        if not isinstance(name, str):
            raise SchemaError(where, f"{of}: a type is a name, or ['NAME']; arrays of arrays and types without "
                              'a name are not supported')
        found = BUILTINS.get(name) or self.types.get(name)
        if not found:
            raise SchemaError(where, f"{of}: no type '{name}'"
                              + similar(name, [*BUILTINS, *self.types]))
        return found, array

    def _members(self, data, of):
        if not isinstance(data, Object):
            raise SchemaError(of.where, f"{of.kind} '{of.name}': 'data' is {{ 'member': 'TYPE', ... }}")
        return [self._member(name, value, data.member_where[name], of) for name, value in data.items()]

    def _member(self, name, value, where, of):
        m = Member(name, where)
        label = f"{of.kind} '{of.name}', member '{m.name}'"
        if not re.match(r'[A-Za-z][A-Za-z0-9_-]*$', m.name):
            raise SchemaError(where, f'{label}: a name has letters, digits and dashes, and begins with a letter')
        if isinstance(value, Object):
            self._member_object(m, value, label)
        else:
            m.type, m.array = self._type(value, where, label)
        if m.type.name == 'null' and of.kind != 'alternate':
            raise SchemaError(where, f"{label}: 'null' is possible in an alternate only")
        if isinstance(m.type, Alternate) and m.array:
            raise SchemaError(where, f'{label}: arrays of alternates are not supported')
        return m

    def _member_object(self, m, value, label):
        for key in value:
            if key not in MEMBER_KEYS:
                raise SchemaError(value.member_where[key], f"{label}: unknown key '{key}'; known are {quoted(MEMBER_KEYS)}")
        if 'type' not in value:
            raise SchemaError(m.where, f"{label}: lacks 'type'")
        m.type, m.array = self._type(value['type'], m.where, label)
        m.has_default = 'default' in value
        m.default = value.get('default')
        m.min, m.max = value.get('min'), value.get('max')
        m.power_of_two = value.get('power-of-two', False)
        m.restart = value.get('restart', False)
        m.unit = value.get('unit')
        m.features = value.get('features', [])
        self._features(m.features, m.where, label)
        if m.has_default and not m.optional:
            raise SchemaError(m.where, f"{label}: only an optional member ('*{m.name}') has a default")

    def _define_enum(self, d, body):
        if not isinstance(body['data'], list) or not body['data']:
            raise SchemaError(d.where, f"enum '{d.name}': 'data' is a list of words, at least one")
        for item in body['data']:
            word, features = item, []
            if isinstance(item, Object):
                word, features = item.get('name'), item.get('features', [])
                self._features(features, item.where, f"enum '{d.name}', word '{word}'")
            if not isinstance(word, str) or not re.match(r'[a-z0-9][a-z0-9_-]*$', word):
                raise SchemaError(d.where, f"enum '{d.name}': {word!r} is no word of lower-case letters, digits and dashes")
            if any(w.replace('-', '_') == word.replace('-', '_') for w, _, _ in d.words):
                raise SchemaError(d.where, f"enum '{d.name}': the word '{word}' is there twice")
            d.words.append((word, features, ''))

    def _define_struct(self, d, body):
        d.members = self._members(body['data'], d)
        if 'base' in body:
            d.base = self._struct_named(body['base'], d, 'base')

    def _struct_named(self, name, d, what):
        found = self.types.get(name) if isinstance(name, str) else None
        if not isinstance(found, Struct) or isinstance(found, Union):
            raise SchemaError(d.where, f"{d.kind} '{d.name}': '{what}' names a struct, and {name!r} is none"
                              + similar(str(name), self.types))
        return found

    def _define_union(self, d, body):
        base = body['base']
        if isinstance(base, str):
            d.base = self._struct_named(base, d, 'base')
        else:
            d.members = self._members(base, d)
        d.expression.branches = body['data']
        if not isinstance(body['data'], Object) or not body['data']:
            raise SchemaError(d.where, f"union '{d.name}': 'data' is {{ 'word': 'STRUCT', ... }}")

    def _define_alternate(self, d, body):
        d.members = self._members(body['data'], d)
        seen = {}
        for m in d.members:
            if m.optional or m.array:
                raise SchemaError(m.where, f"alternate '{d.name}': the choice '{m.name}' is neither optional nor an array")
            json = {'enum': 'string', 'struct': 'object', 'union': 'object'}.get(m.type.kind) or m.type.json
            if m.type.kind == 'alternate' or json == 'value' or json in seen:
                raise SchemaError(m.where, f"alternate '{d.name}': '{m.name}' and '{seen.get(json, 'the others')}' cannot be "
                                  'told apart by their JSON types')
            seen[json] = m.name

    def _data(self, d, body):
        data = body.get('data', Object(d.where))
        if isinstance(data, str):
            named = self.types.get(data)
            d.boxed = isinstance(d, Command) and not d.scope and isinstance(named, Union)
            d.data_type = named if d.boxed else self._struct_named(data, d, 'data')
        else:
            d.members = self._members(data, d)

    def _scope(self, d, body):
        scope = body.get('scope')
        allowed = (None, 'guest', 'host') if isinstance(d, Command) else (None, 'guest')
        if scope not in allowed:
            raise SchemaError(d.where, f"{d.kind} '{d.name}': 'scope' is {quoted(s for s in allowed if s)} or missing, not {scope!r}")
        d.scope = scope if scope == 'guest' else None
        d.is_host = scope == 'host'

    def _define_command(self, d, body):
        self._scope(d, body)
        d.alias = body.get('alias')
        if d.alias is not None:
            self._alias(d, body)
            return
        self._data(d, body)
        d.allow_oob, d.builtin = body.get('allow-oob', False), body.get('builtin', False)
        d.access = body.get('access', 'read' if d.name.startswith('query-') else 'operate')
        d.is_host |= d.access == 'admin' and not d.scope
        if d.access not in ACCESS:
            raise SchemaError(d.where, f"command '{d.name}': 'access' is one of {quoted(ACCESS)}, and {d.access!r} is none")
        for key, value in (('allow-oob', d.allow_oob), ('builtin', d.builtin)):
            if not isinstance(value, bool):
                raise SchemaError(d.where, f"command '{d.name}': '{key}' is true or false")
        if 'returns' in body:
            d.returns = self._type(body['returns'], d.where, f"command '{d.name}', 'returns'")

    def _alias(self, d, body):
        if set(body) - {'command', 'alias', 'features'}:
            raise SchemaError(d.where, f"command '{d.name}': an alias has nothing of its own")
        target = self.commands.get(d.alias)
        if not target or target.expression.body.get('alias'):
            raise SchemaError(d.where, f"command '{d.name}': no command '{d.alias}' to be an alias of"
                              + similar(str(d.alias), self.commands))

    def _define_event(self, d, body):
        self._scope(d, body)
        self._data(d, body)
        d.guest_member = body.get('guest-member', 'guest')

    # Pass 3: bases, branches, scopes.

    def _flatten(self, d):
        if isinstance(d, Struct) and d.base and not getattr(d, 'flat', False):
            self._flatten_base(d, [])
        if isinstance(d, Union):
            self._flatten_union(d)
        if isinstance(d, (Command, Event)) and d.scope:
            self._add_guest(d)

    def _flatten_base(self, d, chain):
        if d in chain:
            raise SchemaError(d.where, f"struct '{d.name}' is its own base")
        if d.base and not getattr(d, 'flat', False):
            self._flatten_base(d.base, chain + [d])
            d.members = d.base.members + d.members
            d.flat = True

    def _flatten_union(self, d):
        tag = d.expression.body['discriminator']
        d.tag = next((m for m in d.members if m.name == tag), None)
        if not d.tag:
            raise SchemaError(d.where, f"union '{d.name}': the discriminator {tag!r} is no member of its base")
        if not isinstance(d.tag.type, Enum) or d.tag.array or d.tag.optional:
            raise SchemaError(d.where, f"union '{d.name}': the discriminator '{tag}' is a mandatory enum")
        words = [w for w, _, _ in d.tag.type.words]
        data = d.expression.branches
        for word, name in data.items():
            where = data.member_where[word]
            if word not in words:
                raise SchemaError(where, f"union '{d.name}': '{word}' is no word of enum '{d.tag.type.name}'"
                                  + similar(word, words))
            branch, array = self._type(name, where, f"union '{d.name}', branch '{word}'")
            if array or not isinstance(branch, Struct):
                raise SchemaError(where, f"union '{d.name}': the branch '{word}' is a struct or a union")
            d.branches[word] = branch

    def _add_guest(self, d):
        own = d.data_type.members if d.data_type else d.members
        name = d.guest_member if isinstance(d, Event) else 'guest'
        if any(m.name == name for m in own):
            raise SchemaError(d.where, f"{d.kind} '{d.name}' has a member '{name}' of its own, which 'scope': 'guest' adds"
                              + ("; name the added one by 'guest-member'" if isinstance(d, Event) else ''))
        guest = Member('*' + name, d.where)
        guest.type = BUILTINS['str']
        guest.doc = GUEST_DOC if isinstance(d, Command) else 'the guest'
        d.guest = guest

    # Pass 4: the order in which C wants the types; no type contains itself.

    def _order(self):
        done, open_, order = set(), [], []

        def visit(d):
            if d.name in done:
                return
            if d in open_:
                raise SchemaError(d.where, f"{d.kind} '{d.name}' contains itself, through "
                                  + quoted(x.name for x in open_[open_.index(d):]) + '; recursion is not supported')
            open_.append(d)
            parts = [m.type for m in getattr(d, 'members', [])] + list(getattr(d, 'branches', {}).values())
            for part in parts:
                if part.kind != 'builtin':
                    visit(part)
            open_.pop()
            done.add(d.name)
            order.append(d)

        for d in self.types.values():
            visit(d)
        return order

    # Pass 5: checks that need everything.

    def _check_members(self, d):
        seen = {}

        def walk(members):
            for m in members:
                if m.c_name in seen:
                    raise SchemaError(m.where, f"{d.kind} '{d.name}': the member '{m.name}' clashes with "
                                      f"'{seen[m.c_name].name}' at {seen[m.c_name].where}")
                seen[m.c_name] = m
                if m.optional and d.kind != 'alternate':
                    self._check_has(d, m, members)

        if isinstance(d, Union):
            walk(d.members)
            for branch in d.branches.values():
                before = dict(seen)
                walk(all_members(branch))
                seen = before
        elif not isinstance(d, Enum):
            walk(d.members)

    @staticmethod
    def _check_has(d, m, members):
        for other in members:
            if other.c_name in ('has_' + m.c_name, 'n_' + m.c_name):
                raise SchemaError(other.where, f"{d.kind} '{d.name}': the member '{other.name}' clashes in C with what "
                                  f"comes with '{m.name}'")

    def _check_values(self, d):
        for m in getattr(d, 'members', []):
            label = f"{d.kind} '{d.name}', member '{m.name}'"
            if m.has_rule:
                self._check_rule(d, m, label)
            if m.has_default:
                self._check_default(m, label)

    @staticmethod
    def _check_rule(d, m, label):
        if m.type.kind != 'builtin' or not m.type.is_int or m.type.signed or m.array:
            raise SchemaError(m.where, f"{label}: only an unsigned integer has 'min', 'max' or 'power-of-two'")
        low, high = m.type.bounds()
        if isinstance(m.min, str):
            if not any(o.name == m.min and o.type is m.type for o in d.members):
                raise SchemaError(m.where, f"{label}: 'min' names no other member of this type: '{m.min}'")
        for key, value in (('min', m.min), ('max', m.max)):
            if value is None or key == 'min' and isinstance(value, str):
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise SchemaError(m.where, f"{label}: '{key}' is a number")
            if not low <= value <= high:
                raise SchemaError(m.where, f"{label}: '{key}' {value} does not fit {m.type.name}")
        if isinstance(m.min, int) and m.max is not None and m.min > m.max:
            raise SchemaError(m.where, f"{label}: 'min' {m.min} is above 'max' {m.max}")

    @staticmethod
    def _check_default(m, label):
        t, v = m.type, m.default
        if m.array:
            good = v == []
        elif t.kind == 'enum':
            good = v in [w for w, _, _ in t.words]
        elif t.kind == 'alternate':
            good = isinstance(v, str) and any(c.type.name == 'str' for c in t.members)
        elif t.kind != 'builtin':
            good = False
        elif t.is_int:
            good = isinstance(v, int) and not isinstance(v, bool) and t.bounds()[0] <= v <= t.bounds()[1]
        else:
            good = isinstance(v, {'str': str, 'bool': bool, 'number': int}.get(t.name, ()))
        if not good:
            raise SchemaError(m.where, f"{label}: the default {v!r} is no {t.name}" + (' array (only [] is)' if m.array else ''))
        if t.kind == 'builtin' and t.is_int:
            if isinstance(m.min, int) and v < m.min or m.max is not None and v > m.max:
                raise SchemaError(m.where, f'{label}: the default {v} is outside its own range')

    def _check_doc(self, d):
        doc = d.expression.doc
        label = f"{d.kind} '{d.name}'"
        if not doc:
            if d.internal:
                return
            raise SchemaError(d.where, f'{label} is not documented: put a ## block in front of it')
        if doc.name != d.name:
            raise SchemaError(doc.where, f"{label}: the documentation in front of it is of '{doc.name}'")
        d.doc = Doc.text(doc.body)
        d.sections = {name: Doc.text(lines) for name, lines in doc.sections.items()}
        own = [w for w, _, _ in d.words] if isinstance(d, Enum) else [
            m.name for m in d.members if not (getattr(d, 'base', None) and m in d.base.members)]
        for name in doc.members:
            if name not in own:
                raise SchemaError(doc.member_where[name], f"{label}: '@{name}:' is documented, but is no member"
                                  + similar(name, own))
        for name in own:
            if name not in doc.members and not d.internal:
                raise SchemaError(d.where, f"{label}: '{name}' is not documented: add '@{name}: ...'")
        self._take_docs(d, {name: Doc.text(lines) for name, lines in doc.members.items()})

    @staticmethod
    def _take_docs(d, texts):
        if isinstance(d, Enum):
            d.words = [(w, f, texts.get(w, '')) for w, f, _ in d.words]
            return
        for m in d.members:
            m.doc = m.doc or texts.get(m.name, '')


def all_members(struct):
    """The members of a struct, or of a union and all its branches."""
    result = list(struct.members)
    for branch in getattr(struct, 'branches', {}).values():
        seen = {m.name for m in result}
        result += [m for m in all_members(branch) if m.name not in seen]
    return result


def an(word):
    return ('an ' if word[0] in 'aeiou' else 'a ') + word
