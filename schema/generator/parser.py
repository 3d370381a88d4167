# SPDX-License-Identifier: Apache-2.0
"""Reads schema files: QAPI-style expressions and the documentation blocks in front of them."""

import os
import re

TOKEN = re.compile(r"""(?P<space>[ \t\r]+)|(?P<newline>\n)|(?P<comment>\#[^\n]*)
    |(?P<string>'[^'\\\n]*')|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[{}\[\],:])""", re.X)
WORDS = {'true': True, 'false': False, 'null': None}


class SchemaError(Exception):
    """A mistake in a schema file: where, what, and what to do."""

    def __init__(self, where, message):
        super().__init__(f'{where}: {message}')


class Where:
    """A place in a file."""

    def __init__(self, path, line):
        self.path = path
        self.line = line

    def __str__(self):
        return f'{self.path}:{self.line}'


class Object(dict):
    """A parsed { }: knows where it and its members are."""

    def __init__(self, where):
        super().__init__()
        self.where = where
        self.member_where = {}


class Doc:
    """A documentation block: @Name: summary, then @member: texts, then sections such as Returns:."""

    SECTIONS = ('Returns', 'Errors', 'Since')

    def __init__(self, where):
        self.where = where
        self.name = None
        self.body = []
        self.members = {}
        self.sections = {}
        self.member_where = {}
        self._into = self.body

    def add(self, line, where):
        start = re.match(r'@([\w-]+):\s*(.*)$', line)
        section = re.match(r'(%s):\s*(.*)$' % '|'.join(self.SECTIONS), line)
        if start and self.name is None:
            self.name, text = start.groups()
        elif start:
            name, text = start.groups()
            if name in self.members:
                raise SchemaError(where, f"'@{name}:' is documented twice in one block")
            self._into = self.members[name] = []
            self.member_where[name] = where
        elif section:
            name, text = section.groups()
            self._into = self.sections[name] = []
        else:
            text = line.strip()
            if self.name is None and text:
                raise SchemaError(where, "a documentation block begins with '@NAME: what it is'")
            if not text and self._into is not self.body:
                self._into = self.body
        self._into.append(text)

    @staticmethod
    def text(lines):
        paragraphs = '\n'.join(lines).strip().split('\n\n')
        return '\n\n'.join(' '.join(p.split()) for p in paragraphs)


class Expression:
    """One definition of a schema file."""

    def __init__(self, kind, name, body, doc, internal):
        self.kind = kind
        self.name = name
        self.body = body
        self.where = body.where
        self.doc = doc
        self.internal = internal


class Tokens:
    """The tokens of one file. Documentation blocks are tokens too."""

    def __init__(self, path, text):
        self.path = path
        self.items = []
        self.at = 0
        self._scan(text)

    def _scan(self, text):
        pos, line, doc = 0, 1, None
        while pos < len(text):
            m = TOKEN.match(text, pos)
            where = Where(self.path, line)
            if not m:
                raise SchemaError(where, f'unexpected character {text[pos]!r}; strings are written '
                                  "in single quotes, without backslashes")
            pos = m.end()
            kind, value = m.lastgroup, m.group()
            if kind == 'newline':
                line += 1
            elif kind == 'comment':
                doc = self._comment(value, where, doc)
            elif kind != 'space':
                if doc:
                    raise SchemaError(doc.where, "documentation block is not closed by '##'")
                self.items.append((kind, value, where))
        if doc:
            raise SchemaError(doc.where, "documentation block is not closed by '##'")
        self.end = Where(self.path, line)

    def _comment(self, value, where, doc):
        if value == '##':
            if doc is None:
                return Doc(where)
            if doc.name is None:
                raise SchemaError(doc.where, 'documentation block is empty')
            self.items.append(('doc', doc, doc.where))
            return None
        if doc:
            doc.add(value[1:].removeprefix(' '), where)
        return doc

    def peek(self):
        return self.items[self.at] if self.at < len(self.items) else ('end', 'end of file', self.end)

    def pop(self):
        token = self.peek()
        self.at += 1
        return token

    def expect(self, mark):
        kind, value, where = self.pop()
        if kind != 'mark' or value != mark:
            raise SchemaError(where, f"expected '{mark}', not {describe(kind, value)}")
        return where


def describe(kind, value):
    if kind == 'end':
        return 'the end of the file'
    return value if kind == 'string' else 'a documentation block' if kind == 'doc' else f"'{value}'"


def parse_value(tokens):
    kind, value, where = tokens.peek()
    if kind == 'mark' and value == '{':
        return parse_object(tokens)
    if kind == 'mark' and value == '[':
        return parse_list(tokens)
    tokens.pop()
    if kind == 'string':
        return value[1:-1]
    if kind == 'number':
        return int(value)
    if kind == 'word' and value in WORDS:
        return WORDS[value]
    raise SchemaError(where, f'expected a value, not {describe(kind, value)}')


def parse_object(tokens):
    result = Object(tokens.expect('{'))
    if tokens.peek()[:2] == ('mark', '}'):
        tokens.pop()
        return result
    while True:
        kind, key, where = tokens.pop()
        if kind != 'string':
            raise SchemaError(where, f"expected a member's name in single quotes, not {describe(kind, key)}")
        key = key[1:-1]
        if key in result:
            raise SchemaError(where, f"'{key}' is there twice")
        tokens.expect(':')
        result.member_where[key] = where
        result[key] = parse_value(tokens)
        kind, mark, where = tokens.pop()
        if (kind, mark) == ('mark', '}'):
            return result
        if (kind, mark) != ('mark', ','):
            raise SchemaError(where, f"expected ',' or '}}', not {describe(kind, mark)}")


def parse_list(tokens):
    result = []
    tokens.expect('[')
    if tokens.peek()[:2] == ('mark', ']'):
        tokens.pop()
        return result
    while True:
        result.append(parse_value(tokens))
        kind, mark, where = tokens.pop()
        if (kind, mark) == ('mark', ']'):
            return result
        if (kind, mark) != ('mark', ','):
            raise SchemaError(where, f"expected ',' or ']', not {describe(kind, mark)}")


KINDS = ('enum', 'struct', 'union', 'alternate', 'command', 'event')


class Reader:
    """Reads a root file and everything it includes, each file once."""

    def __init__(self):
        self.expressions = []
        self.files = []
        self._open = []

    def read(self, path, included_at=None):
        path = os.path.normpath(path)
        if path in self._open:
            raise SchemaError(included_at, f"'{path}' includes itself, through "
                              + ' and '.join(f"'{p}'" for p in self._open[self._open.index(path):]))
        if path in self.files:
            return
        try:
            with open(path, encoding='utf-8') as f:
                text = f.read()
        except OSError as e:
            raise SchemaError(included_at or path, f"cannot read '{path}': {e.strerror}") from e
        self.files.append(path)
        self._open.append(path)
        self._definitions(Tokens(path, text), os.path.dirname(path))
        self._open.pop()

    def _definitions(self, tokens, folder):
        doc, internal = None, False
        while tokens.peek()[0] != 'end':
            if tokens.peek()[0] == 'doc':
                if doc:
                    raise SchemaError(doc.where, f"documentation of '{doc.name}' is not followed by its definition")
                doc = tokens.pop()[1]
                continue
            body = parse_object(tokens)
            kinds = [k for k in body if k in KINDS + ('include', 'pragma')]
            if len(kinds) != 1:
                raise SchemaError(body.where, 'a definition has exactly one of '
                                  + ', '.join(f"'{k}'" for k in KINDS + ('include', 'pragma')))
            kind = kinds[0]
            if kind == 'include':
                self.read(os.path.join(folder, body['include']), body.where)
            elif kind == 'pragma':
                internal = self._pragma(body)
            else:
                self.expressions.append(Expression(kind, body[kind], body, doc, internal))
                doc = None
        if doc:
            raise SchemaError(doc.where, f"documentation of '{doc.name}' is not followed by its definition")

    @staticmethod
    def _pragma(body):
        pragma = body['pragma']
        if not isinstance(pragma, dict) or list(pragma) != ['internal'] or pragma['internal'] is not True:
            raise SchemaError(body.where, "the only pragma is { 'internal': true }")
        return True
