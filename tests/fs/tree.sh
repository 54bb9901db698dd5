#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The tree itself: what is there, modes, what mkdir, rmdir, unlink and others
# answer, README from the table.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms
cd "$M" || exit 1

# --- what is there ---
for f in README spec state status status.json events error ssh_config \
	known_hosts hosts wait/all wait/node01 networks/lan/{spec,state,ports} \
	networks/lan/{reach,error,log} images/netboot/{spec,state,error,log} \
	nodes/node01/{spec,state,console,disk,progress,status.json,error,log}; do
	t "$f is a file" test -f "$f"
	like "... and listed" "$(ls -A "$(dirname "$f")")" \
		"^$(basename "$f")\$"
done
for f in README spec state status status.json events error ssh_config \
	known_hosts hosts wait networks images nodes ports reach console disk \
	progress log; do
	like "README explains $f" "$(cat README)" "(^|[^a-z.])$f([^a-z.]|\$)"
done
t "grep -r ends" timeout 60 grep -r --exclude-dir=wait . nodes
t "find and stat work" timeout 60 find . -newer README

# --- what is read is one snapshot with a true size ---
for f in README spec status status.json ssh_config hosts nodes/node01/status.json; do
	is "the size of $f is true" "$(stat -c %s $f)" "$(wc -c <$f)"
done
t "cp takes a file whole" cp status.json "$T/copy"
t "and it is JSON" jq . "$T/copy"

# But for images: those are looked at for a while after the start.
is "what has not changed reads the same" "$(timeout 60 python3 -c '
import json, time
seen = set()
for i in range(300):
    time.sleep(i % 7 / 1e4)
    for name in "nodes/node01/status.json", "status.json", "hosts":
        with open(name) as f:
            text = f.read()
        if name == "status.json":
            text = json.loads(text)
            del text["images"]
        seen.add((name, str(text)))
print(len(seen))')" 3

# --- modes ---
is "nothing is writable but by its owner" "$(find . -perm /022 ! -type l)" ""
is "specs may hold secrets" "$(stat -c %a spec nodes/node01/{spec,disk} | sort -u)" 600
is "state is shown to all" "$(stat -c %a nodes/node01/state state | sort -u)" 644
is "the rest is read only" \
	"$(find . -type f -perm /200 ! -name spec ! -name state ! -name disk ! -name console)" ""
is "files belong to who runs the daemon" "$(find . ! -user "$(id -un)")" ""
refused_any() { # what can't be: EPERM or EACCES
	local what=$1 got
	shift
	got=$(call "$@")
	like "$what" "$got" '^(EPERM|EACCES)$'
}
refused_any "a write to status" put status <<<"x"
refused_any "a write to README" write README <<<"x"
refused_any "a write to images' state" put images/netboot/state <<<"x"
t "the state directory is private" test "$(stat -c %a "$S")" = 700
t "the runtime directory is private" test "$(stat -c %a "$R")" = 700

# --- where nothing belongs ---
for what in "mkdir x" "mkdir nodes/node01/x" "mkdir wait/x" "rmdir nodes" \
	"unlink status" "unlink nodes/node01/state" "create images/x" "create nodes/x" \
	"create wait/x" "rename nodes/node01 nodes/node09" "rename status other" \
	"link status nodes/link" "symlink x nodes/link"; do
	# shellcheck disable=SC2086 # words
	refused_any "$what" $what
done
t "rm -r destroys nothing" test -n "$(rm -rf nodes/node01 2>&1)"
t "the node is still there" test -f nodes/node01/state
eventually "and its spec is back" 10 test -f nodes/node01/spec

# --- mkdir and rmdir ---
for name in Node_1 -a a- "a b" a.b "$(printf 'a%.0s' {1..64})" $'a\nb' é; do
	refused "the name \"$name\"" EINVAL mkdir "nodes/$name"
done
like "error says what a name is" "$(cat error)" '^refused: .*(name|label)'
refused "a name of 63" OK mkdir "nodes/$(printf 'a%.0s' {1..63})"
is "the refusal of mkdir went" "$(cat error)" ""
refused "a digit first" OK mkdir nodes/9to5
for name in 1 0x10 localhost host; do
	refused "the node $name, which is something else" EINVAL mkdir "nodes/$name"
	like "is told" "$(cat error)" "^refused: nodes: node: .*$name"
	refused "a network $name" OK mkdir "networks/$name"
	rmdir "networks/$name"
done
refused "one that is there" EEXIST mkdir nodes/node01
refused "a network" OK mkdir networks/storage
like "gets the next subnet" "$(cat networks/storage/spec networks/storage/status.json 2>/dev/null; json status.json .networks)" '10\.36\.1\.0/24|\{\}'
refused "a network that is free goes" OK rmdir networks/storage
refused "an image" OK mkdir images/other
is "an image without kind is missing" "$(cat images/other/state)" missing
refused "an image that is free goes" OK rmdir images/other
refused "nothing there" ENOENT rmdir nodes/none
mkdir networks/storage
echo '{"nics":{"lan":{},"storage":{}}}' >nodes/node02/spec
refused "a network that a spec names stays" EBUSY rmdir networks/storage
like "and who uses it is said" "$(cat error)" 'node02'
echo '{"boot":{"image":"netboot"}}' >nodes/node02/spec
refused "until it does no more" OK rmdir networks/storage
echo up >nodes/node03/state
settle node03 >/dev/null
refused "a node that runs stays" EBUSY rmdir nodes/node03
t "and runs on" reads nodes/node03/state up
echo off >nodes/node03/state
settle node03 >/dev/null
refused "down without a disk it goes" OK rmdir nodes/node03

# --- numbers: the second machine of a shape, and one that comes back ---
mkdir nodes/node04
t "a spec is copied" cp nodes/node01/spec nodes/node04/spec
is "its port is its own" "$(json status.json \
	'[.nodes[] | .ssh_port? // .ssh.port?] | length == (unique | length)')" true
