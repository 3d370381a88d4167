# SPDX-License-Identifier: Apache-2.0
"""The tutorial's example compiles against the public header alone, does what the page says it prints, and is what it shows."""
# LABELS: quick
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("MIGD_SOURCE_DIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ["MIGD_BUILD_DIR"]
EXAMPLE = os.path.join(SOURCE, "examples/countdown.c")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def run_example(folder):
    program = os.path.join(folder, "countdown")
    flags = ["-Wall", "-Wextra", "-Werror", "-I", os.path.join(SOURCE, "include")]
    for compiler, std in (("gcc", "c99"), ("clang", "c17")):
        try:
            subprocess.run([compiler, f"-std={std}", "-pedantic", *flags, "-fsyntax-only", EXAMPLE], check=True)
        except FileNotFoundError:
            print(f"not here: {compiler}")
    # Linking would take the sanitizers' run-time and the library's own compiler.
    if os.environ.get("MIGD_SANITIZE"):
        print("built with sanitizers: the example is compiled, not linked")
        return None
    subprocess.run(["gcc", "-std=c99", *flags, EXAMPLE, os.path.join(BUILD, "guest/libmigd-guest.a"), "-pthread", "-o",
                    program], check=True)
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}:\n{done.stdout}"
    return done.stdout


def main():
    page, example = read(os.path.join(SOURCE, "docs/vmstate.md")), read(EXAMPLE)
    shown = blocks(page, "c")
    assert len(shown) >= 5, "the page shows no code"
    for block in shown:
        assert block in example, f"the page shows what is not in the example:\n{block}"
    with tempfile.TemporaryDirectory() as folder:
        printed = run_example(folder)
    if printed is not None:
        assert blocks(page, "text") == [printed], f"the page does not show what the example prints:\n{printed}"
    print(f"{len(shown)} blocks of code and the output are as shown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
