#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The schema generator says where and what is wrong with a schema, and writes nothing."""

import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get('MIGD_SOURCE_DIR') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
GENERATE = os.path.join(SOURCE, 'schema', 'generate.py')


def run(files, output=None):
    """Run the generator over files (name -> text), the first being the root."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
                f.write(text)
        command = [sys.executable, '-B', GENERATE, next(iter(files))]
        out = os.path.join(folder, 'out')
        done = subprocess.run(command + ['--output', out], cwd=folder, capture_output=True, text=True, check=False)
        made = {}
        for top, _, names in os.walk(out):
            for n in names:
                with open(os.path.join(top, n), encoding='utf-8') as f:
                    made[os.path.relpath(os.path.join(top, n), out)] = f.read()
        return done.returncode, done.stderr, made


def doc(name, *members):
    lines = [f'# @{name}: it is']
    if members:
        lines += ['#'] + [f'# @{m}: a member' for m in members]
    return '##\n' + '\n'.join(lines) + '\n##\n'


# What is wrong: the schema, and what the message must say. The schema's first line is line 1.
BAD = {
    'an unknown character': ('{ "struct": 1 }', 'root.json:1: unexpected character \'"\'; strings are written in single quotes'),
    'a missing bracket': ("{ 'struct': 'A', 'data': {}", "root.json:1: expected ',' or '}', not the end of the file"),
    'a missing colon': ("{ 'struct' 'A' }", "root.json:1: expected ':', not 'A'"),
    'a member twice': ("{ 'struct': 'A',\n 'struct': 'B' }", "root.json:2: 'struct' is there twice"),
    'no value': ("{ 'struct': }", "root.json:1: expected a value, not '}'"),
    'a key that is no string': ("{ 1: 2 }", "root.json:1: expected a member's name in single quotes, not '1'"),
    'no kind': ("{ 'data': {} }", 'root.json:1: a definition has exactly one of'),
    'two kinds': ("{ 'struct': 'A', 'enum': 'A' }", 'root.json:1: a definition has exactly one of'),
    'an open block': ("##\n# @A: x\n{ 'struct': 'A', 'data': {} }", "root.json:1: documentation block is not closed by '##'"),
    'an empty block': ("##\n##\n{ 'struct': 'A', 'data': {} }", 'root.json:1: documentation block is empty'),
    'a block without a name': ("##\n# hello\n##\n", "root.json:2: a documentation block begins with '@NAME: what it is'"),
    'a block of nothing': (doc('A'), "root.json:1: documentation of 'A' is not followed by its definition"),
    'two blocks': (doc('A') + doc('A') + "{ 'struct': 'A', 'data': {} }", "documentation of 'A' is not followed"),
    'an unknown pragma': ("{ 'pragma': { 'x': true } }", "root.json:1: the only pragma is { 'internal': true }"),
    'a missing file': ("{ 'include': 'none.json' }", "root.json:1: cannot read 'none.json': No such file or directory"),
    'a file in itself': ("{ 'include': 'root.json' }", "root.json:1: 'root.json' includes itself"),

    'no documentation': ("{ 'struct': 'A', 'data': {} }", "root.json:1: struct 'A' is not documented"),
    'documentation of another': (doc('B') + "{ 'struct': 'A', 'data': {} }", "root.json:1: struct 'A': the documentation in "
                                 "front of it is of 'B'"),
    'an undocumented member': (doc('A') + "{ 'struct': 'A', 'data': { 'x': 'int' } }",
                               "root.json:4: struct 'A': 'x' is not documented: add '@x: ...'"),
    'a documented stranger': (doc('A', 'value', 'valeu') + "{ 'struct': 'A', 'data': { 'value': 'int' } }",
                              "root.json:5: struct 'A': '@valeu:' is documented, but is no member; did you mean 'value'?"),
    'a member documented twice': (doc('A', 'x', 'x'), "root.json:5: '@x:' is documented twice in one block"),
    'an undocumented word': (doc('E') + "{ 'enum': 'E', 'data': [ 'a' ] }", "root.json:4: enum 'E': 'a' is not documented"),

    'a lower-case type': ("{ 'struct': 'thing', 'data': {} }", "'thing': the name of a struct is written in CamelCase"),
    'an upper-case command': ("{ 'command': 'Migrate' }", "the name of a command is written in lower-case-with-dashes"),
    'a lower-case event': ("{ 'event': 'stop' }", "the name of an event is written in UPPER_CASE"),
    'a type twice': (doc('A') + "{ 'struct': 'A', 'data': {} }\n" + "{ 'enum': 'A', 'data': ['x'] }",
                     "root.json:5: 'A' is defined twice; first at root.json:4"),
    'one name in C': ("{ 'struct': 'AbC', 'data': {} }\n{ 'struct': 'Ab_c', 'data': {} }",
                      "root.json:2: 'Ab_c' and 'AbC' have the same name in C: ab_c"),
    'no data': ("{ 'struct': 'A' }", "root.json:1: struct 'A' lacks 'data'"),
    'an unknown key': ("{ 'command': 'a', 'return': 'int' }", "root.json:1: command 'a' has an unknown key 'return'; known are"),
    'an unknown type': ("{ 'struct': 'A', 'data': { 'x': 'strr' } }", "struct 'A', member 'x': no type 'strr'; did you mean 'str'?"),
    'an array of two': ("{ 'struct': 'A', 'data': { 'x': ['int', 'str'] } }", "an array is written ['TYPE'], with one type"),
    'an array of arrays': ("{ 'struct': 'A', 'data': { 'x': [['int']] } }", 'arrays of arrays'),
    'a bad name': ("{ 'struct': 'A', 'data': { '9x': 'int' } }", 'a name has letters, digits and dashes, and begins with a letter'),
    'null alone': ("{ 'struct': 'A', 'data': { 'x': 'null' } }", "'null' is possible in an alternate only"),
    'an unknown member key': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'int', 'minimum': 1 } } }",
                              "struct 'A', member 'x': unknown key 'minimum'; known are"),
    'no type': ("{ 'struct': 'A', 'data': { '*x': { 'min': 1 } } }", "member 'x': lacks 'type'"),
    'an unknown feature': ("{ 'struct': 'A', 'data': { 'x': { 'type': 'int', 'features': ['old'] } } }",
                           "unknown feature 'old'; known are 'deprecated', 'unstable'"),
    'two members of one name': ("{ 'struct': 'A', 'data': { 'a-b': 'int', 'a_b': 'int' } }",
                                "struct 'A': the member 'a_b' clashes with 'a-b'"),
    'a member named like a mark': ("{ 'struct': 'A', 'data': { '*a': 'int', 'has-a': 'bool' } }",
                                   "the member 'has-a' clashes in C with what comes with 'a'"),
    'a struct in itself': ("{ 'struct': 'A', 'data': { 'b': 'B' } }\n{ 'struct': 'B', 'data': { 'a': 'A' } }",
                           "struct 'A' contains itself, through 'A', 'B'; recursion is not supported"),
    'an empty enum': ("{ 'enum': 'E', 'data': [] }", "enum 'E': 'data' is a list of words, at least one"),
    'a word twice': ("{ 'enum': 'E', 'data': ['a-b', 'a_b'] }", "enum 'E': the word 'a_b' is there twice"),
    'a bad word': ("{ 'enum': 'E', 'data': ['A'] }", 'is no word of lower-case letters'),
    'a base that is an enum': ("{ 'enum': 'E', 'data': ['a'] }\n{ 'struct': 'A', 'base': 'E', 'data': {} }",
                               "struct 'A': 'base' names a struct, and 'E' is none"),
    'a base of itself': ("{ 'struct': 'A', 'base': 'B', 'data': {} }\n{ 'struct': 'B', 'base': 'A', 'data': {} }",
                         'is its own base'),

    'a default of a mandatory member': ("{ 'struct': 'A', 'data': { 'x': { 'type': 'int', 'default': 1 } } }",
                                        "only an optional member ('*x') has a default"),
    'a default of another type': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'bool', 'default': 1 } } }", 'the default 1 is no bool'),
    'a default that is no word': ("{ 'enum': 'E', 'data': ['a'] }\n{ 'struct': 'A', 'data': { '*x': { 'type': 'E', 'default': 'b' } } }",
                                  "the default 'b' is no E"),
    'a default too wide': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'uint8', 'default': 256 } } }", 'the default 256 is no uint8'),
    'a default outside its range': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'uint8', 'default': 0, 'min': 1 } } }",
                                    'the default 0 is outside its own range'),
    'a range upside down': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'uint8', 'min': 2, 'max': 1 } } }", "'min' 2 is above 'max' 1"),
    'a range too wide': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'uint8', 'max': 256 } } }", "'max' 256 does not fit uint8"),
    'a range of a string': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'str', 'max': 1 } } }",
                            "only an unsigned integer has 'min', 'max' or 'power-of-two'"),
    'a range by a stranger': ("{ 'struct': 'A', 'data': { '*x': { 'type': 'uint8', 'min': 'y' } } }",
                              "'min' names no other member of this type: 'y'"),

    'a tag that is not there': ("{ 'enum': 'E', 'data': ['a'] }\n{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'f', "
                                "'data': { 'a': 'U' } }", "union 'U': the discriminator 'f' is no member of its base"),
    'a tag that is a string': ("{ 'struct': 'S', 'data': {} }\n{ 'union': 'U', 'base': { 'e': 'str' }, 'discriminator': 'e', "
                               "'data': { 'a': 'S' } }", "the discriminator 'e' is a mandatory enum"),
    'an unknown branch': ("{ 'struct': 'S', 'data': {} }\n{ 'enum': 'E', 'data': ['first'] }\n{ 'union': 'U', 'base': { 'e': 'E' }, "
                          "'discriminator': 'e', 'data': { 'frist': 'S' } }", "'frist' is no word of enum 'E'; did you mean 'first'?"),
    'a branch that is no struct': ("{ 'enum': 'E', 'data': ['a'] }\n{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'e', "
                                   "'data': { 'a': 'int' } }", "the branch 'a' is a struct or a union"),
    'a branch with the tag': ("{ 'struct': 'S', 'data': { 'e': 'int' } }\n{ 'enum': 'E', 'data': ['a'] }\n{ 'union': 'U', "
                              "'base': { 'e': 'E' }, 'discriminator': 'e', 'data': { 'a': 'S' } }",
                              "union 'U': the member 'e' clashes with 'e'"),
    'choices alike': ("{ 'enum': 'E', 'data': ['a'] }\n{ 'alternate': 'X', 'data': { 'a': 'str', 'b': 'E' } }",
                      "alternate 'X': 'b' and 'a' cannot be told apart by their JSON types"),

    'an unknown scope': ("{ 'command': 'a', 'scope': 'world' }", "command 'a': 'scope' is 'guest', 'host' or missing, not 'world'"),
    'a second guest': ("{ 'command': 'a', 'scope': 'guest', 'data': { 'guest': 'str' } }",
                       "command 'a' has a member 'guest' of its own"),
    'a second guest in an event': ("{ 'event': 'A', 'scope': 'guest', 'data': { 'guest': 'bool' } }",
                                   "name the added one by 'guest-member'"),
    'an alias of nothing': (doc('query-it') + "{ 'command': 'query-it' }\n{ 'command': 'b', 'alias': 'query-ti' }",
                            "no command 'query-ti' to be an alias of; did you mean 'query-it'?"),
    'an alias with more': ("{ 'command': 'a' }\n{ 'command': 'b', 'alias': 'a', 'data': {} }", 'an alias has nothing of its own'),
    'oob that is no bool': ("{ 'command': 'a', 'allow-oob': 'yes' }", "'allow-oob' is true or false"),
    'an unknown result': ("{ 'command': 'a', 'returns': 'Thing' }", "command 'a', 'returns': no type 'Thing'"),
    'data that is no struct': ("{ 'enum': 'E', 'data': ['a'] }\n{ 'command': 'a', 'data': 'E' }", "'data' names a struct, and 'E' is none"),
}

GOOD = doc('Colour', 'red') + "{ 'enum': 'Colour', 'data': [ 'red' ] }\n" + doc('Thing', 'colour', 'unix') + """
{ 'struct': 'Thing', 'data': { '*colour': { 'type': 'Colour', 'default': 'red' },
                               '*unix': { 'type': 'uint8', 'default': 2, 'min': 1, 'max': 9, 'unit': 'ms' } } }
""" + doc('set-thing') + "{ 'command': 'set-thing', 'scope': 'guest', 'data': 'Thing' }\n" + doc('CHANGED', 'thing') + """
{ 'event': 'CHANGED', 'data': { 'thing': 'Thing' } }
{ 'include': 'more.json' }
{ 'include': 'more.json' }
"""


class Generator(unittest.TestCase):
    def test_bad_schemas_are_refused(self):
        for what, (text, message) in BAD.items():
            with self.subTest(what):
                status, errors, made = run({'root.json': text})
                self.assertEqual((status, made), (1, {}), errors)
                self.assertIn(message, errors)
                self.assertEqual(errors.count('\n'), 1, errors)

    def test_a_mistake_in_an_included_file_is_found_there(self):
        status, errors, _ = run({'root.json': "\n{ 'include': 'more.json' }", 'more.json': "\n\n{ 'struct': 'A' }"})
        self.assertEqual(status, 1)
        self.assertTrue(errors.startswith('more.json:3: '), errors)

    def test_a_good_schema_gives_code_and_reference(self):
        status, errors, made = run({'root.json': GOOD, 'more.json': "{ 'pragma': { 'internal': true } }\n{ 'struct': 'Own', 'data': {} }"})
        self.assertEqual((status, errors), (0, ''))
        self.assertIn('COLOUR_RED = 1', made['schema/types.h'])
        self.assertIn('uint8_t unix_;', made['schema/types.h'])
        self.assertIn('void cmd_set_thing(struct qmp_call *call,', made['schema/commands.h'])
        self.assertIn('void event_changed(struct qmp_server *s, const struct thing *thing);', made['schema/events.h'])
        self.assertIn('a value between 1 and 9 milliseconds', made['schema/types.c'])
        self.assertIn('### set-thing', made['docs/qmp-reference.md'])
        self.assertNotIn('### Own', made['docs/qmp-reference.md'])
        for name, text in made.items():
            if name.endswith(('.c', '.h')):
                self.assertIn('Generated by schema/generate.py from ', text.split('\n')[0])

    def test_nothing_is_written_again_that_did_not_change(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, '-B', GENERATE, os.path.join(SOURCE, 'schema', 'migd.json'), '--output', folder]
            subprocess.run(command, check=True)
            types = os.path.join(folder, 'schema', 'types.h')
            os.utime(types, (1, 1))
            subprocess.run(command, check=True)
            self.assertEqual(os.stat(types).st_mtime, 1)


if __name__ == '__main__':
    unittest.main()
