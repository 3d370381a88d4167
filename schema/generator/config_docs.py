# SPDX-License-Identifier: Apache-2.0
"""What people read of the configuration file: an example with every key, and the keys' part of its manual page."""

import json
import re
import textwrap

WIDTH = 96
UNITS = {'s': 'seconds', 'ms': 'milliseconds'}
RESTART = 'Taken when migd starts.'


def sections(schema):
    """(name, struct) of each section, in their order."""
    return [(m.name, m.type) for m in schema.types['Config'].members]


def size_text(n):
    shift, suffix = next((s, u) for s, u in ((40, 'T'), (30, 'G'), (20, 'M'), (10, 'K'), (0, '')) if n % (1 << s) == 0)
    return f'{n >> shift}{suffix}' if n else '0'


def value_text(m):
    """The default as it is written in the file."""
    if isinstance(m.default, bool):
        return 'yes' if m.default else 'no'
    if m.type.name == 'size':
        return size_text(m.default)
    return m.default if isinstance(m.default, str) else json.dumps(m.default)


def kind_text(m):
    """What a value looks like; '' for text, which the description is about."""
    kind = {'bool': 'yes or no', 'size': 'a size, such as 512M'}.get(m.type.name, 'a number' if m.type.is_int else '')
    number = size_text if m.type.name == 'size' else str
    unit = '' if m.unit in (None, 'bytes') else ', in ' + UNITS.get(m.unit, m.unit)
    if m.min is None and m.max is None:
        return kind + unit
    low, high = m.min or 0, m.max if m.max is not None else m.type.bounds()[1]
    return f'{kind}{unit}, {number(low)} to {number(high)}'


def sentence(text):
    text = text.strip()
    return text[:1].upper() + text[1:] + ('' if text.endswith('.') else '.')


def purpose(struct):
    """The description of a section, without the words that only say which it is."""
    text = re.sub(r'^section \[\w+\](: |\. ?)?', '', struct.doc)
    return sentence(text) if text else ''


def plain(text):
    """Without the marks of references and code."""
    return re.sub(r'(?<![\w`.])@([a-z][\w-]*)', r'\1', text).replace('`', '')


def comment(text):
    return textwrap.wrap(text, WIDTH, initial_indent='# ', subsequent_indent='# ', break_on_hyphens=False)


def example(schema):
    """migd.conf, with every key commented out at its default."""
    lines = ['# The configuration of migd: migd.conf(5). Every key is here at its default; take the # away to set it.',
             '# migd --config FILE --check-config says what is wrong with it; systemctl reload migd lets it hold.']
    for name, struct in sections(schema):
        lines += ['', *comment(plain(purpose(struct))), f'[{name}]']
        for m in struct.members:
            note = kind_text(m)
            text = plain(sentence(m.doc)) + (f' ({note})' if note else '') + (f' {RESTART}' if m.restart else '')
            lines += ['', *comment(text),
                      f'#{m.name} = {value_text(m)}'.rstrip()]
    return '\n'.join(lines) + '\n'


def roff(text):
    text = text.replace('\\', '\\e').replace('-', '\\-')
    text = re.sub(r'(?<![\w`.])@([a-z][\w\\-]*)', r'\\fB\1\\fR', text)
    text = re.sub(r'`([^`]*)`', r'\\fI\1\\fR', text)
    return '\\&' + text if text[:1] in ".'" else text


def man_keys(schema):
    """The sections and keys, for the manual page."""
    lines = []
    for name, struct in sections(schema):
        lines += [f'.SS [{name}]']
        lines += [roff(purpose(struct))] if purpose(struct) else []
        for m in struct.members:
            default = value_text(m)
            lines += ['.TP', f'.B {roff(m.name)}', roff(sentence(m.doc))]
            lines += [roff(sentence(kind_text(m)))] if kind_text(m) else []
            lines += [f'Default: \\fI{roff(default)}\\fR.' if default != '' else 'Default: empty.']
            lines += [RESTART] if m.restart else []
    return '\n'.join(lines) + '\n'


def man_page(schema, template):
    """TEMPLATE with the line @KEYS@ replaced."""
    return template.replace('@KEYS@\n', man_keys(schema))
