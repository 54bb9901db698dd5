#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Shells and what comes with any Unix write a spec: each way puts a good document
# in force and tells of a bad one.
# shellcheck source=tests/fs/tools_lib.sh
. "$ROOT/tests/fs/tools_lib.sh"
need dash dash
tools_begin

# --- redirections ---
bash_echo() { echo "$(<"$1")" >spec; }
tool "bash: echo >" 'Invalid argument' silent bash_echo
# shellcheck disable=SC2016 # dash expands it
dash_echo() { dash -c 'echo "$(cat "$0")" >spec' "$1"; }
tool "dash: echo >" 'I/O error' silent dash_echo
cat_to() { cat "$1" >spec; }
tool "cat >" 'Invalid argument' 'Invalid argument' cat_to
here_document() {
	cat >spec <<DOC
$(cat "$1")
DOC
}
tool "a here-document" 'Invalid argument' 'Invalid argument' here_document
# The shell that opened the file closes it: nobody hears of half a document.
writers() {
	{
		head -n 1 "$1"
		/bin/echo -n
		tail -n +2 "$1"
	} >spec
}
tool "several writers in one redirection" 'Invalid argument' silent writers
kept_open() {
	exec 7>spec
	while read -r line; do
		printf '%s\n' "$line"
	done <"$1" >&7
	exec 7>&-
}
good_doc
sed -i 's/\t//' "$T/doc" # read takes it away
t "a descriptor that the shell holds" run_tool kept_open "$T/doc"
t "a descriptor that the shell holds: in force" in_force

# --- copies ---
tee_to() { tee spec <"$1" >/dev/null; }
tool tee 'Invalid argument' 'Invalid argument' tee_to
cp_to() { cp "$1" spec; }
tool cp 'Invalid argument' 'Invalid argument' cp_to
cp_f() { cp -f "$1" spec; }
tool "cp -f" 'Invalid argument' 'Invalid argument' cp_f
dd_to() { dd if="$1" of=spec status=none; }
tool dd 'Invalid argument' 'Invalid argument' dd_to
dd_1() { dd if="$1" of=spec bs=1 status=none; }
tool "dd bs=1" 'Invalid argument' 'Invalid argument' dd_1
dd_fsync() { dd if="$1" of=spec conv=fsync status=none; }
tool "dd conv=fsync" 'Invalid argument' 'Invalid argument' dd_fsync

# --- patches ---
# patched NAME WRONG CUT FUNCTION...: a tool that appends.
patched() {
	local name=$1 wrong=$2 cut=$3 before
	shift 3
	before=$(jq -S 'del(.memory)' spec)
	memory=$((memory + 1))
	echo "{\"memory\":\"${memory}M\"}" >"$T/doc"
	t "$name patches" run_tool "$@" "$T/doc"
	is "$name: in spec" "$(json spec .memory)" ${memory}M
	is "$name: in force" "$(json status.json .spec.memory)" ${memory}M
	is "$name: the rest stays" "$(jq -S 'del(.memory)' spec)" "$before"
	t "$name: nothing is left" nothing_left
	echo '{"memory":"1"}' >"$T/doc"
	told "$name, a wrong value" "$wrong" "$WRONG" "$@"
	echo '{"memory":"1G"' >"$T/doc"
	told "$name, cut off" "$cut" "$CUT" "$@"
}
bash_append() { echo "$(<"$1")" >>spec; }
patched "bash: echo >>" 'Invalid argument' silent bash_append
# shellcheck disable=SC2016
dash_append() { dash -c 'echo "$(cat "$0")" >>spec' "$1"; }
patched "dash: echo >>" 'I/O error' silent dash_append
tee_a() { tee -a spec <"$1" >/dev/null; }
patched "tee -a" 'Invalid argument' 'Invalid argument' tee_a
cat_append() { cat "$1" >>spec; }
patched "cat >>" 'Invalid argument' 'Invalid argument' cat_append
