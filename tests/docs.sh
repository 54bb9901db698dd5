#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The documents: pages made from tables are current, links lead somewhere, and
# the code blocks of docs/ARCHITECTURE.md and docs/DRIVERS.md, put where they say, give
# a file and a driver that work.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"

# --- links ---
while IFS=: read -r page link; do
	t "$page: $link" test -e "$ROOT/$(dirname "$page")/$link"
done < <(cd "$ROOT" && grep -oE '\]\([^)#:]+' README.md docs/*.md examples/*/*.md |
	sed 's/](//')

# --- pages from tables ---
while read -r program page; do
	"$RACKFS_BUILD/gen/$program" >"$T/page" 2>"$T/page.err"
	if cmp -s "$T/page" "$ROOT/docs/$page"; then
		ok "docs/$page is current"
	else
		not_ok "docs/$page is not what its table says; run: make docs"
		diff "$ROOT/docs/$page" "$T/page" | head -n 20 | note
	fi
done <<'PAGES'
files_page FILES.md
man_page rackfs.8
spec_page rackfs-spec.5
PAGES

# --- a copy with the code blocks put in ---
mkdir "$T/tree"
(cd "$ROOT" && tar -c --exclude=./build --exclude=./.git --exclude=./.rackfs \
	--exclude=./cluster .) | tar -x -C "$T/tree"
cat >"$T/apply.py" <<'PY'
"""apply.py TREE PAGE: puts a page's marked code blocks where they belong."""
import os
import re
import sys
tree, page = sys.argv[1:]
text = open(os.path.join(tree, page)).read()
blocks = re.findall(r"<!-- (file|insert|replace): (\S+)(?: (?:after|line): (.*?))? -->\n"
                    r"(?:\s*)```c\n(.*?)```", text, re.S)
if not blocks:
    sys.exit(page + ": no code block is marked")
for kind, path, after, code in blocks:
    path = os.path.join(tree, path)
    if kind == "file":
        if os.path.exists(path):
            sys.exit(path + " is there already")
        open(path, "w").write(code)
        continue
    lines = open(path).read().splitlines(True)
    at = [i for i, line in enumerate(lines) if re.search(after, line)]
    if len(at) != 1:
        sys.exit("%s: %d lines are like %s" % (path, len(at), after))
    if kind == "replace":
        lines[at[0]] = code
    else:
        lines.insert(at[0] + 1, code)
    open(path, "w").write("".join(lines))
PY
for page in docs/ARCHITECTURE.md docs/DRIVERS.md; do
	t "$page: its code blocks find their place" \
		python3 "$T/apply.py" "$T/tree" $page
done
# With the objects of the build under test; only what is new is compiled.
mkdir "$T/build"
built=$T/tree/build
if make -C "$T/tree" -j2 BUILD="$built" CFLAGS="-O0 -g" "$built/rackfs" \
	"$built/tests/conformance" "$built/tests/test_files" >"$T/make.log" 2>&1; then
	ok "it builds"
else
	not_ok "it does not build"
	tail -n 30 "$T/make.log" | note
	exit 1
fi
unlike "without a warning" "$(cat "$T/make.log")" 'warning:'
t "the include rules like it" "$ROOT/tests/lint/include-rules" "$T/tree"
mkdir "$T/wrong"
cp -r "$T"/tree/{include,backend,fs} "$T/wrong/"
echo '#include <fuse_lowlevel.h>' >>"$T/wrong/backend/engine/plan.c"
fails "and see a header where it does not belong" \
	"$ROOT/tests/lint/include-rules" "$T/wrong"
t "the table's own test likes it" "$built/tests/test_files"
timeout 120 "$built/tests/conformance" >"$T/conformance" 2>&1
is "the conformance tests like it" $? 0
grep -B 6 '^not ok' "$T/conformance" | note
like "and have tried it" "$(cat "$T/conformance")" 'null'

# --- and used ---
RACKFS=$built/rackfs
fake 20ms
cd "$M" || exit 1
t "the file is there" test -f nodes/node01/uptime
is "a node that is down has been up for nothing" "$(cat nodes/node01/uptime)" "0"
like "README explains it" "$(cat README)" uptime
echo up >nodes/node01/state
settle node01 >/dev/null
eventually "then its seconds count" 20 grep -qE '^[1-9]' nodes/node01/uptime
is "its size is true" "$(stat -c %s nodes/node01/uptime)" \
	"$(wc -c <nodes/node01/uptime)"
mkdir networks/quiet
refused "a network of the new driver" OK write networks/quiet/spec \
	<<<'{"driver":"null"}'
is "is one" "$(json networks/quiet/status.json .spec.driver 2>/dev/null ||
	json status.json '.. | .driver? // empty' | grep -x null)" null
