# SPDX-License-Identifier: Apache-2.0
"""Finding what was built."""
import os


def find(build_dir, names):
    """{name: path} of executables anywhere in a build folder; FileNotFoundError names what is missing and what to do."""
    found = {}
    for folder, subfolders, files in os.walk(build_dir):
        subfolders[:] = [s for s in subfolders if s != "CMakeFiles"]
        for name in set(names) & set(files):
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                found.setdefault(name, path)
    missing = [name for name in names if name not in found]
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)} in '{build_dir}': run scripts/build release")
    return found
