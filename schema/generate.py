#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""generate.py ROOT.json --output DIR [--man-page TEMPLATE]: writes DIR/schema/*.{h,c} and DIR/docs/*."""

import argparse
import os
import sys

from generator import c_commands, c_types, config_docs, introspect, reference
from generator.model import Schema
from generator.parser import Reader, SchemaError


def outputs(schema, sources):
    commands, events = c_commands.Commands(schema, sources), c_commands.Events(schema, sources)
    return {
        'schema/types.h': c_types.Header(schema, sources).text(),
        'schema/types.c': c_types.Source(schema, sources).text(),
        'schema/commands.h': commands.header(),
        'schema/commands.c': commands.source(),
        'schema/builtin-commands.c': commands.builtin_source(),
        'schema/events.h': events.header(),
        'schema/events.c': events.source(),
        'schema/introspect.h': introspect.c_header(sources),
        'schema/introspect.c': introspect.c_source(schema, sources),
        'docs/qmp-reference.md': reference.Reference(schema).text(),
    }


def configuration(schema, template):
    """What is made of the configuration file's part. `template`: of its manual page."""
    with open(template, encoding='utf-8') as f:
        page = config_docs.man_page(schema, f.read())
    return {'docs/migd.conf': config_docs.example(schema), 'docs/' + os.path.basename(template).removesuffix('.in'): page}


def write(path, text):
    """Only if it changed, so that nothing is compiled for nothing."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(path, encoding='utf-8') as f:
            if f.read() == text:
                return
    except OSError:
        pass
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def main():
    parser = argparse.ArgumentParser(description='Generate C, introspection and reference from the schema.')
    parser.add_argument('root', help='root schema file')
    parser.add_argument('--output', help='folder to write to; without it, the schema is only checked')
    parser.add_argument('--man-page', help='template of the manual page of the configuration file')
    args = parser.parse_args()
    reader = Reader()
    try:
        reader.read(args.root)
        schema = Schema(reader.expressions)
    except SchemaError as e:
        print(e, file=sys.stderr)
        return 1
    if args.output:
        folder = os.path.basename(os.path.dirname(os.path.abspath(args.root)))
        files = outputs(schema, f'the files in {folder}/')
        if args.man_page:
            files |= configuration(schema, args.man_page)
        for name, text in files.items():
            write(os.path.join(args.output, name), text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
