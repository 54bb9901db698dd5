#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Programs that carry documents from elsewhere: rsync, git, sponge, Python.
# shellcheck source=tests/fs/tools_lib.sh
. "$ROOT/tests/fs/tools_lib.sh"
need rsync rsync
need git git
need moreutils sponge
tools_begin

# --- rsync ---
mkdir "$T/from"
rsync_a() { cp "$1" "$T/from/spec" && rsync -aI "$T/from/" .; }
tool "rsync -a" 'Invalid argument' 'Invalid argument' rsync_a
rsync_inplace() { rsync -I --inplace "$1" spec; }
tool "rsync --inplace" 'Invalid argument' 'Invalid argument' rsync_inplace
is "rsync from it" "$(rsync spec "$T/back" && cmp spec "$T/back")" ""

# --- git: the same repository for a folder elsewhere, whose commits come in ---
export GIT_DIR=$T/git GIT_CONFIG_GLOBAL=$T/gitconfig
git config --global user.name tester
git config --global user.email tester@example.org
git init -q
git_checkout() {
	cp "$1" "$T/from/spec"
	git --work-tree="$T/from" add spec &&
		git --work-tree="$T/from" commit -q -m "to $TO" &&
		git --work-tree=. checkout -f -q HEAD .
}
tool "git checkout" 'unable to write file' silent git_checkout
status=$(git --work-tree=. status --porcelain -uno)
is "git sees no difference then" "$status" ""
cut_doc
git_checkout "$T/doc"
is "of one that was cut off it sees the difference" \
	"$(git --work-tree=. status --porcelain -uno)" " M spec"
unset GIT_DIR

# --- sponge ---
sed_sponge() { sed "s/$FROM/$TO/" spec | sponge spec; }
tool "sed | sponge" 'Invalid argument' 'Invalid argument' sed_sponge
memory=$((memory + 1))
jq ".memory = \"${memory}M\"" spec >"$T/doc"
jq_sponge() { jq ".memory = $(jq .memory "$1")" spec | sponge spec; }
t "jq | sponge" run_tool jq_sponge "$T/doc"
t "jq | sponge: in force" in_force
wrong_doc
told "jq | sponge, a wrong value" 'Invalid argument' "$WRONG" jq_sponge

# --- Python ---
py() { # py PROGRAM DOCUMENT
	python3 -c "import json, os, sys
text = open(sys.argv[1]).read()
$1" "$2"
}
export -f py
py_with() { py 'with open("spec", "w") as f: f.write(text)' "$1"; }
tool "Python: with open()" 'OSError: .*Invalid' 'OSError: .*Invalid' py_with
py_unclosed() { py 'open("spec", "w").write(text)' "$1"; }
tool "Python: never closed" silent silent py_unclosed
py_replace() {
	py 'with open("spec.tmp", "w") as f: f.write(text)
try: os.replace("spec.tmp", "spec")
except OSError: os.unlink("spec.tmp"); raise' "$1"
}
tool "Python: os.replace" 'OSError: .*Invalid' 'OSError: .*Invalid' py_replace
# It writes its own spaces.
jq -c . spec >"$T/one"
memory=$((memory + 1))
python3 -c 'import json, sys
json.dump({"cpus": 2, "memory": sys.argv[1]}, open(sys.argv[2], "w"), indent=1)' \
	${memory}M "$T/doc"
py_dump() { py 'with open("spec", "w") as f: json.dump(json.loads(text), f, indent=1)' "$1"; }
t "Python: json.dump" run_tool py_dump "$T/doc"
t "Python: json.dump: in force" in_force
wrong_doc
told "Python: json.dump, a wrong value" 'OSError: .*Invalid' "$WRONG" py_dump
