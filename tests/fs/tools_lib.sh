# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of tools share.  A tool is a function that puts the document $1
# into ./spec in the tool's own way, or edits ./spec: $FROM is replaced by $TO.
# tool() lets it write a good one, a wrong one and one that is cut off, and looks
# at all that must be true after each.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"

# need PACKAGE COMMAND...: the test skips without these.
need() {
	local package=$1 command
	shift
	for command; do
		command -v "$command" >/dev/null || skip "$command ($package)"
	done
}

# A fake node in whose directory the test works.
tools_begin() {
	fake 1ms
	cd "$M/nodes/node01" || exit 1
	names=$(ls -A)
	memory=513
	# Only a copy byte for byte keeps the spaces.
	printf '{ "cpus" : 2,\n\n\t"memory":  "%dM" }\n' $memory >spec
}

# --- documents: $T/doc is spec with $FROM replaced by $TO ---

edited() {
	export FROM=$1 TO=$2
	sed "s/$FROM/$TO/" spec >"$T/doc"
}
memory() { jq -r .memory spec; }
good_doc() {
	memory=$((memory + 1))
	edited "$(memory)" "${memory}M"
}
wrong_doc() { edited "$(memory)" 1; }
cut_doc() { edited '}' ''; }

# --- what must be true after a write ---

last_seq() { tail -n 1 "$M/events" | jq .seq; }

same() { # same WHAT GOT WANTED
	[ "$2" = "$3" ] && return
	echo "$1: \"$2\" is not \"$3\""
	return 1
}

# $LEFT: what the tool may leave, on any file system (a pattern).
nothing_left() {
	same "files" "$(ls -AI "${LEFT:-}")" "$names" &&
		same "mode of spec" "$(stat -c %a spec)" 600 &&
		same "owner of spec" "$(stat -c %U spec)" "$(id -un)"
}

# The document $T/doc is in force.
in_force() {
	cmp "$T/doc" spec &&
		same "size" "$(stat -c %s spec)" "$(stat -c %s "$T/doc")" &&
		same "memory in force" "$(json status.json .spec.memory)" \
			"$(jq -r .memory "$T/doc")" &&
		same "error" "$(cat error)" "" &&
		nothing_left
}

# $UNDONE: the tool then writes the old document again, which is accepted.
refusal_stays() {
	local wanted="^refused: spec: .*$1"
	[ -z "${UNDONE:-}" ] || wanted='^$'
	[[ $(cat error) =~ $wanted ]] || same error "$(cat error)" "$wanted"
}

# refused_since SEQ REGEX: the document $T/kept is still in force; error and
# events tell why another one is not.
refused_since() {
	cmp "$T/kept" spec &&
		same "memory in force" "$(json status.json .spec.memory)" \
			"$(jq -r .memory "$T/kept")" &&
		nothing_left && refusal_stays "$2" &&
		jq -e -n --argjson seq "$1" --arg why "$2" 'any(inputs;
			.seq > $seq and .object == "nodes/node01" and
			.change == "refused" and .file == "spec" and
			(.why | test($why)))' "$M/events"
}

# --- a tool ---

WRONG='memory: .*unit'
CUT='line [0-9]+, column [0-9]+: .*cut off'

# A tool that hangs is a failure, not the end of the test.
run_tool() {
	export -f "${1?}"
	timeout "$LIMIT" bash -c '"$@"' - "$@" </dev/null
}

# told NAME TOLD WHY FUNCTION...: $T/doc is refused.  TOLD: what the tool says
# before it fails (a regex), "rc": it only fails, "silent": it can't know.
told() {
	local name=$1 how=$2 why=$3 said rc seq
	shift 3
	cp spec "$T/kept"
	seq=$(last_seq)
	said=$(run_tool "$@" "$T/doc" 2>&1)
	rc=$?
	t "$name: the old one stays, error and events tell" \
		refused_since "$seq" "$why"
	case $how in
	silent) is "$name: the tool can't know" $rc 0 ;;
	rc) fails "$name: the tool fails" [ $rc = 0 ] ;;
	*)
		fails "$name: the tool fails" [ $rc = 0 ]
		like "$name: the tool says it" "$said" "$how"
		;;
	esac
}

# tool NAME WRONG CUT FUNCTION...: WRONG, CUT: how the tool tells of a document
# with a wrong value, of one that is cut off (as TOLD of told()).
tool() {
	local name=$1 wrong=$2 cut=$3
	shift 3
	good_doc
	t "$name" run_tool "$@" "$T/doc"
	t "$name: in force" in_force
	wrong_doc
	told "$name, a wrong value" "$wrong" "$WRONG" "$@"
	cut_doc
	told "$name, cut off" "$cut" "$CUT" "$@"
	# A refusal must not be in the way of the next one.
	good_doc
	t "$name, again" run_tool "$@" "$T/doc"
	t "$name, again: in force" in_force
}
