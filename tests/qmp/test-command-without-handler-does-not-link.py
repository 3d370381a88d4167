#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whoever links the table of commands must define every handler; the linker names the missing one."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ.get('MIGD_BUILD_DIR')
SOURCE = os.environ.get('MIGD_SOURCE_DIR') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
MAIN = '#include "qmp/server.h"\nint main(void) { return qmp_commands[0].name == NULL; }\n'
LIBS = ('qmp/libmigd_qmp_commands.a', 'qmp/libmigd_qmp.a', 'schema/libmigd_schema.a', 'base/libmigd_base.a')


def link(folder, handlers):
    """Link a program with handlers for these commands; what the linker says."""
    path = os.path.join(folder, 'main.c')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(MAIN + ''.join(f'void {h}(void);\nvoid {h}(void) {{ }}\n' for h in handlers))
    flags = [f'-fsanitize={os.environ["MIGD_SANITIZE"]}'] if os.environ.get('MIGD_SANITIZE') else []
    libs = [os.path.join(BUILD, lib) for lib in LIBS]
    done = subprocess.run([os.environ.get('CC', 'cc'), *flags, '-I', SOURCE, path, *libs, '-ljansson', '-levent', '-lpthread',
                           '-o', os.path.join(folder, 'main')], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def main():
    if not BUILD or not shutil.which(os.environ.get('CC', 'cc')):
        print('skipped: MIGD_BUILD_DIR is not set, or there is no compiler')
        return 77
    with open(os.path.join(BUILD, 'gen/schema/commands.h'), encoding='utf-8') as f:
        declared = set(re.findall(r'void (cmd_\w+)\(', f.read()))
    with open(os.path.join(BUILD, 'gen/schema/builtin-commands.c'), encoding='utf-8') as f:
        builtin = set(re.findall(r'\b(cmd_\w+)\(', f.read()))
    handlers = sorted(declared - builtin)
    with tempfile.TemporaryDirectory() as folder:
        status, errors = link(folder, handlers)
        if status != 0:
            print(f'with all handlers it does not link:\n{errors}')
            return 1
        for missing in handlers:
            status, errors = link(folder, [h for h in handlers if h != missing])
            if status == 0 or missing not in errors:
                print(f'without {missing}: status {status}, {errors}')
                return 1
    print(f'{len(handlers)} handlers, each of them needed')
    return 0


if __name__ == '__main__':
    sys.exit(main())
