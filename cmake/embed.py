#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py FILE NAME OUTPUT: a C file that defines NAME, the text of FILE as a string."""
import sys


def literal(text):
    escaped = text.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n').replace('?', '\\?')
    return '"' + ''.join(c if ord(c) < 0x80 else ''.join(f'\\{b:03o}' for b in c.encode()) for c in escaped) + '"'


def main(path, name, output):
    with open(path, encoding='utf-8') as f:
        lines = f.readlines()
    with open(output, 'w', encoding='ascii') as f:
        f.write(f'/* SPDX-License-Identifier: Apache-2.0 */\nextern const char {name}[];\nconst char {name}[] =\n')
        f.write('\n'.join(literal(line) for line in lines) + ';\n')


main(*sys.argv[1:])
