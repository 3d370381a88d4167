#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The public header compiles alone as strict C99 and as C++; the shared library exports what it declares and no more.
# LABELS: quick
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
source_dir=${MIGD_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
build_dir=${MIGD_BUILD_DIR:?set it to the build folder}

cat >"$dir/use.c" <<'EOF'
#include <migd/guest.h>
struct dev { uint8_t a; uint32_t b[3]; bool c; };
static const struct migd_vmstate_field fields[] = {
	MIGD_VMS_FIELD_U8(struct dev, a),
	MIGD_VMS_FIELD_U32_ARRAY(struct dev, b, 3),
	MIGD_VMS_FIELD_BOOL(struct dev, c),
	MIGD_VMS_FIELD_END
};
static const struct migd_vmstate desc = { "dev", 1, 1, fields, NULL, NULL, NULL, NULL, NULL, NULL, NULL };
int main(void)
{
	struct migd_guest *g = NULL;
	return migd_guest_new(NULL, &g) == 0 || desc.version != 1;
}
EOF
cp "$dir/use.c" "$dir/use.cc"

warnings=(-Wall -Wextra -Werror -I"$source_dir/include")
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	$cc -std=c99 -pedantic "${warnings[@]}" -fsyntax-only "$dir/use.c"
	echo "$cc -std=c99: ok"
done
have_cxx=
for cxx in g++ clang++; do
	command -v $cxx >/dev/null || continue
	$cxx -std=c++11 "${warnings[@]}" -fsyntax-only "$dir/use.cc"
	echo "$cxx -std=c++11: ok"
	have_cxx=yes
done
[ -n "$have_cxx" ] || { echo "SKIP: no C++ compiler"; exit 77; }

# The same compiler and sanitizer as the library's is needed to link; without one, any compiler does.
if [ -z "${MIGD_SANITIZE:-}" ]; then
	gcc -std=c99 "${warnings[@]}" "$dir/use.c" -o "$dir/use-shared" -L"$build_dir/guest" -l:libmigd-guest.so \
		-Wl,-rpath,"$build_dir/guest"
	"$dir/use-shared"
	gcc -std=c99 "${warnings[@]}" "$dir/use.c" -o "$dir/use-static" "$build_dir/guest/libmigd-guest.a" -pthread
	"$dir/use-static"
	echo "links shared and static: ok"
fi

declared=$(grep -oE '\bmigd_guest_[a-z_]+\(' -h "$source_dir/include/migd/guest.h" "$source_dir/include/migd/live.h" | grep -v '()' | tr -d '(' | sort -u |
	grep -vE '^migd_guest_(hooks|options|kvm|ram)$')
exported=$(nm -D --defined-only "$build_dir/guest/libmigd-guest.so" | awk '$2 == "T" { print $3 }' | sed 's/@.*//' | sort -u)
leaked=$(nm -g --defined-only "$build_dir/guest/libmigd-guest.a" | awk 'NF == 3 { print $3 }' | grep -v '^migd_guest_' |
	grep -vE '^__([a-z]*san|llvm_profile)' || true)
if [ -n "$leaked" ]; then
	printf 'libmigd-guest.a defines names that are not its own:\n%s\n' "$leaked"
	exit 1
fi
if [ "$declared" != "$exported" ]; then
	echo "declared (<) and exported (>) differ:"
	diff <(echo "$declared") <(echo "$exported") || true
	exit 1
fi
echo "exports exactly what the header declares: ok"
