# SPDX-License-Identifier: Apache-2.0
"""Every row macro compiles in each language it is for; a row that says what its member is not does not, and says so."""
# LABELS: quick
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE_DIR = os.environ.get("MIGD_SOURCE_DIR") or os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-I", os.path.join(SOURCE_DIR, "include"), "-fsyntax-only"]

# (compiler, language flags, suffix, does it repeat the row's own text?)
MODES = [("gcc", ["-std=gnu17", "-Wconversion"], ".c", True), ("gcc", ["-std=c99", "-pedantic"], ".c", False),
         ("clang", ["-std=gnu17", "-Wconversion"], ".c", True), ("clang", ["-std=c11", "-pedantic"], ".c", True),
         ("g++", ["-std=c++11"], ".cc", False), ("clang++", ["-std=c++20"], ".cc", False)]
GENERIC = ("migd_member_is_not_as_the_row_says", "migd: the member is not as the row says")

DECLARATIONS = r"""
#include <migd/guest.h>
struct point { uint16_t x, y; };
struct elem { uint32_t id; struct elem *next, *prev; struct { struct elem *next, **prev; } link; };
struct head { struct elem *first, *last; };
struct bsd_head { struct elem *first, **last; };
struct dev {
	uint8_t u8; uint16_t u16; uint32_t u32, n; uint64_t u64; int8_t s8; int16_t s16; int32_t s32; int64_t s64;
	uint8_t n8; uint16_t n16; bool flag; double d; uint64_t timer;
	uint8_t bytes[4]; uint32_t words[3]; uint64_t bits[2]; uint8_t *p8; uint32_t *p32; uint64_t *pbits;
	struct point at, ats[2], *to, *maybe, *some[3]; uint8_t *numbers[2]; struct head q; struct bsd_head bq;
};
struct tmp { struct dev *parent; uint32_t x; };
struct bad_tmp { uint32_t x; struct dev *parent; };
static bool test(void *o, uint32_t v) { return o && v; }
static bool one_argument(void *o) { return o; }
static const struct migd_vmstate_field point_fields[] = { MIGD_VMS_FIELD_U16(struct point, x), MIGD_VMS_FIELD_END };
static const struct migd_vmstate d = { "d", 1, 1, point_fields, NULL, NULL, NULL, NULL, NULL, NULL, NULL };
"""

RIGHT = [f"MIGD_VMS_FIELD({t}, struct dev, {m})" for t, m in (
    ("BOOL", "flag"), ("U8", "u8"), ("U16", "u16"), ("U32", "u32"), ("U64", "u64"), ("S8", "s8"), ("S16", "s16"),
    ("S32", "s32"), ("S64", "s64"), ("U8_EQUAL", "u8"), ("U16_EQUAL", "u16"), ("U32_EQUAL", "u32"), ("U64_EQUAL", "u64"),
    ("S32_EQUAL", "s32"), ("S32_LE", "s32"), ("DOUBLE", "d"), ("TIMER", "timer"))] + [
    "MIGD_VMS_FIELD_SINCE(U8, struct dev, u8, 2)", "MIGD_VMS_FIELD_IF(U8, struct dev, u8, test)",
    "MIGD_VMS_FIELD_ARRAY(U32, struct dev, words, 3)", "MIGD_VMS_FIELD_ARRAY_SINCE(U32, struct dev, words, 3, 2)",
    "MIGD_VMS_FIELD_ARRAY_IF(U32, struct dev, words, 3, test)", "MIGD_VMS_FIELD_VARRAY(U8, struct dev, bytes, 4, U8, n8)",
    "MIGD_VMS_FIELD_VARRAY_TIMES(U32, struct dev, words, 3, S32, s32, 3)",
    "MIGD_VMS_FIELD_PTR_ARRAY(U32, struct dev, p32, 9)", "MIGD_VMS_FIELD_PTR_VARRAY(U32, struct dev, p32, 9, U16, n16)",
    "MIGD_VMS_FIELD_PTR_VARRAY_TIMES(U32, struct dev, p32, 9, U16, n16, 2)", "MIGD_VMS_FIELD_NULLABLE(U32, struct dev, p32)",
    "MIGD_VMS_FIELD_PTRS(U8, struct dev, numbers, 2)", "MIGD_VMS_FIELD_U8_VARRAY(struct dev, bytes, 4, n)",
    "MIGD_VMS_FIELD_BUFFER(struct dev, bytes)", "MIGD_VMS_FIELD_BUFFER_SINCE(struct dev, bytes, 2)",
    "MIGD_VMS_FIELD_BUFFER_IF(struct dev, bytes, test)", "MIGD_VMS_FIELD_BUFFER_PART(struct dev, bytes, 1, 3)",
    "MIGD_VMS_FIELD_VBUFFER(struct dev, bytes, U32, n)", "MIGD_VMS_FIELD_PTR_VBUFFER(struct dev, p8, 9, S32, s32)",
    "MIGD_VMS_FIELD_PTR_VBUFFER_TIMES(struct dev, p8, 9, U32, n, 3)", "MIGD_VMS_FIELD_BITMAP(struct dev, bits, 65)",
    "MIGD_VMS_FIELD_PTR_BITMAP(struct dev, pbits, 99, U32, n)", "MIGD_VMS_FIELD_UNUSED(4)",
    "MIGD_VMS_FIELD_UNUSED_SINCE(4, 2)", "MIGD_VMS_FIELD_UNUSED_IF(4, test)",
    "MIGD_VMS_FIELD_STRUCT(struct dev, at, struct point, &d)", "MIGD_VMS_FIELD_STRUCT_SINCE(struct dev, at, struct point, &d, 2)",
    "MIGD_VMS_FIELD_STRUCT_IF(struct dev, at, struct point, &d, test)",
    "MIGD_VMS_FIELD_VSTRUCT(struct dev, at, struct point, &d, 1)",
    "MIGD_VMS_FIELD_STRUCT_ARRAY(struct dev, ats, struct point, 2, &d)",
    "MIGD_VMS_FIELD_STRUCT_ARRAY_SINCE(struct dev, ats, struct point, 2, &d, 2)",
    "MIGD_VMS_FIELD_STRUCT_ARRAY_IF(struct dev, ats, struct point, 2, &d, test)",
    "MIGD_VMS_FIELD_STRUCT_VARRAY(struct dev, ats, struct point, 2, n, &d)",
    "MIGD_VMS_FIELD_STRUCT_VARRAY_TIMES(struct dev, ats, struct point, 2, U8, n8, 2, &d)",
    "MIGD_VMS_FIELD_STRUCT_PTR(struct dev, to, struct point, &d)",
    "MIGD_VMS_FIELD_STRUCT_PTR_VARRAY(struct dev, to, struct point, 9, U32, n, &d)",
    "MIGD_VMS_FIELD_STRUCT_NULLABLE(struct dev, maybe, struct point, &d)",
    "MIGD_VMS_FIELD_STRUCT_PTRS(struct dev, some, struct point, 3, &d)",
    "MIGD_VMS_FIELD_STRUCT_PTRS_VARRAY(struct dev, some, struct point, 3, U8, n8, &d)",
    "MIGD_VMS_FIELD_TMP(struct dev, struct tmp, &d)",
    "MIGD_VMS_FIELD_QUEUE(struct dev, q, struct head, &dq, 9, &d)", "MIGD_VMS_FIELD_VALIDATE(\"n is sane\", test)",
]

RIGHT_QUEUES = """
static const struct migd_vmstate_queue sq = MIGD_VMS_QUEUE_SINGLE(struct head, first, struct elem, next, NULL);
static const struct migd_vmstate_queue dq = MIGD_VMS_QUEUE_DOUBLE(struct head, first, last, struct elem, next, prev, NULL);
static const struct migd_vmstate_queue lq = MIGD_VMS_QUEUE_LIST(struct head, first, struct elem, link.next, link.prev, NULL);
static const struct migd_vmstate_queue tq =
	MIGD_VMS_QUEUE_TAILQ(struct bsd_head, first, last, struct elem, link.next, link.prev, NULL);
"""

# (row, what a compiler that repeats the row's text says)
WRONG = [
    ("MIGD_VMS_FIELD(U8, struct dev, u32)", "u32 of struct dev is not of type uint8_t"),
    ("MIGD_VMS_FIELD(S32, struct dev, u32)", "u32 of struct dev is not of type int32_t"),
    ("MIGD_VMS_FIELD_U64(struct dev, s64)", "s64 of struct dev is not of type uint64_t"),
    ("MIGD_VMS_FIELD(DOUBLE, struct dev, timer)", "timer of struct dev is not of type double"),
    ("MIGD_VMS_FIELD(U32, struct dev, words)", "words of struct dev is not of type uint32_t"),
    ("MIGD_VMS_FIELD_ARRAY(U32, struct dev, words, 4)", "words of struct dev is not an array of 4 uint32_t"),
    ("MIGD_VMS_FIELD_ARRAY(U32, struct dev, p32, 3)", "p32 of struct dev is not an array of 3 uint32_t"),
    ("MIGD_VMS_FIELD_VARRAY(U32, struct dev, words, 3, U32, n8)", "n8 of struct dev is not of type uint32_t"),
    ("MIGD_VMS_FIELD_VARRAY(U32, struct dev, words, 3, S32, n)", "n of struct dev is not of type int32_t"),
    ("MIGD_VMS_FIELD_PTR_VARRAY(U32, struct dev, words, 3, U32, n)", "words of struct dev is not of type uint32_t *"),
    ("MIGD_VMS_FIELD_NULLABLE(U32, struct dev, u32)", "u32 of struct dev is not of type uint32_t *"),
    ("MIGD_VMS_FIELD_PTRS(U8, struct dev, bytes, 4)", "bytes of struct dev is not an array of 4 uint8_t *"),
    ("MIGD_VMS_FIELD_BUFFER_PART(struct dev, bytes, 2, 3)", "bytes of struct dev has not so many bytes"),
    ("MIGD_VMS_FIELD_PTR_VBUFFER(struct dev, bytes, 4, U32, n)", "bytes of struct dev is not of type uint8_t *"),
    ("MIGD_VMS_FIELD_BITMAP(struct dev, bits, 64)", "bits of struct dev is not an array of"),
    ("MIGD_VMS_FIELD_UNUSED(0)", "unused bytes are at least one"),
    ("MIGD_VMS_FIELD_SINCE(U8, struct dev, u8, 0)", "a field exists since version 1 or a later one"),
    ("MIGD_VMS_FIELD_IF(U8, struct dev, u8, one_argument)", "one_argument is not a bool (void *opaque, uint32_t version)"),
    ("MIGD_VMS_FIELD_VALIDATE(\"sane\", one_argument)", "one_argument is not a bool (void *opaque, uint32_t version)"),
    ("MIGD_VMS_FIELD_STRUCT(struct dev, at, struct elem, &d)", "at of struct dev is not of type struct elem"),
    ("MIGD_VMS_FIELD_STRUCT_ARRAY(struct dev, ats, struct point, 3, &d)", "is not an array of 3 struct point"),
    ("MIGD_VMS_FIELD_STRUCT_PTR(struct dev, at, struct point, &d)", "at of struct dev is not of type struct point *"),
    ("MIGD_VMS_FIELD_TMP(struct dev, struct bad_tmp, &d)", "the first member of struct bad_tmp is not struct dev *parent"),
    ("MIGD_VMS_FIELD_QUEUE(struct dev, q, struct bsd_head, &dq, 9, &d)", "q of struct dev is not of type struct bsd_head"),
]
WRONG_QUEUES = [
    ("MIGD_VMS_QUEUE_SINGLE(struct head, first, struct elem, id, NULL)", "id of struct elem is not of type"),
    ("MIGD_VMS_QUEUE_DOUBLE(struct bsd_head, first, last, struct elem, next, prev, NULL)",
     "last of struct bsd_head is not of type struct elem *"),
    ("MIGD_VMS_QUEUE_TAILQ(struct head, first, last, struct elem, link.next, link.prev, NULL)",
     "last of struct head is not of type struct elem **"),
    ("MIGD_VMS_QUEUE_LIST(struct head, first, struct elem, next, prev, NULL)",
     "prev of struct elem is not of type struct elem **"),
]
# What C++ compilers find by themselves, in their own words.
IN_OWN_WORDS = "one_argument"


def program(rows, queues):
    table = ",\n\t".join(rows + ["MIGD_VMS_FIELD_END"])
    return (DECLARATIONS + queues + f"static const struct migd_vmstate_field fields[] = {{\n\t{table}\n}};\n"
            + "int main(void) { return !fields[0].name || !d.name || test(NULL, 0) || one_argument(NULL) || sizeof(struct tmp) +"
              " sizeof(struct bad_tmp) == 0; }\n")


def compile_(mode, text, folder):
    compiler, flags, suffix, _ = mode
    path = os.path.join(folder, "snippet" + suffix)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    extra = ["-Wno-unused-const-variable", "-Wno-unused-variable"]
    env = dict(os.environ, LC_ALL="C")
    done = subprocess.run([compiler, *flags, *WARNINGS, *extra, path], capture_output=True, text=True, env=env, check=False)
    return done.returncode, done.stderr


def check_right(mode, folder):
    code, said = compile_(mode, program(RIGHT, RIGHT_QUEUES), folder)
    return [] if code == 0 else [f"{mode[0]} {' '.join(mode[1])}: right rows do not compile:\n{said}"]


def check_wrong(mode, folder, row, want, text):
    code, said = compile_(mode, text, folder)
    where = f"{mode[0]} {' '.join(mode[1])}: {row}"
    if code == 0:
        return [f"{where}: compiles"]
    if mode[2] == ".cc" and IN_OWN_WORDS in row:
        return []
    ok = want in said if mode[3] else any(g in said for g in GENERIC)
    return [] if ok else [f"{where}: does not say {want!r}:\n{said}"]


def main():
    faults, ran = [], []
    with tempfile.TemporaryDirectory() as folder:
        for mode in MODES:
            if not shutil.which(mode[0]):
                print(f"not here: {mode[0]}")
                continue
            ran.append(mode[0])
            faults += check_right(mode, folder)
            for row, want in WRONG:
                faults += check_wrong(mode, folder, row, want, program([row], RIGHT_QUEUES))
            for queue, want in WRONG_QUEUES:
                text = program([], f"static const struct migd_vmstate_queue wrong = {queue};\n").replace(
                    "fields[0].name", "wrong.links")
                faults += check_wrong(mode, folder, queue, want, text)
    print("\n".join(faults))
    print(f"{len(WRONG) + len(WRONG_QUEUES)} wrong snippets and the right ones with: {', '.join(ran)}")
    if not ran:
        print("SKIP: no compiler")
        return 77
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
