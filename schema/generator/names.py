# SPDX-License-Identifier: Apache-2.0
"""Names: from the schema's to C's."""

import re

# Words that are no names in C, or that the compiler predefines in its GNU mode.
RESERVED = set('''auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile
    while asm typeof bool true false unix linux i386 errno stdin stdout stderr NULL EOF'''.split())


def snake(name):
    """CamelCase and lower-with-dashes to snake_case."""
    name = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', name)
    name = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    return name.replace('-', '_').lower()


def c_member(name):
    """A member's or argument's name in C."""
    name = snake(name) if not name.isupper() else name.lower()
    if name[0].isdigit():
        name = '_' + name
    return name + '_' if name in RESERVED else name


def c_constant(type_name, word):
    return f'{snake(type_name)}_{word}'.replace('-', '_').upper()
