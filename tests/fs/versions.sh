#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# examples/versions-with-git: add, diff, and a checkout that acts on the machine.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
command -v git >/dev/null || skip "git"
fake 5ms
export VERSIONS=$T/versions GIT_CONFIG_GLOBAL=$T/gitconfig
git config --global user.name tester
git config --global user.email tester@example.org
node=$M/nodes/node01
versions() { timeout "$LIMIT" "$ROOT/examples/versions-with-git" "$node" "$@"; }
t "nothing but spec belongs to it" test "$(versions status --porcelain)" = "?? spec"

first='{ "cpus": 2,  "memory": "1G" }'
echo "$first" >"$node/spec"
t "add" versions add spec
t "commit" versions commit -q -m first
is "there is no difference then" "$(versions status --porcelain)" ""
echo up >"$node/state"
is "the node is up" "$(settle node01)" up
is "no difference by that" "$(versions diff --stat)" ""

echo '{"memory":"2G","nics":{"lan":{"link":"down"}}}' >>"$node/spec"
like "diff shows what has changed" "$(versions diff)" '^\+.*"2G"'
t "commit -a" versions commit -qam second
is "the machine has it at its next start" \
	"$(json "$node/status.json" '.restart_required | tostring')" '["memory"]'
echo reboot >"$node/state"
settle node01 >/dev/null
is "has it" "$(json "$node/status.json" '.restart_required | tostring')" '[]'
link() { json "$node/status.json" .spec.nics.lan.link; }
is "the plug is pulled" "$(link)" down

# --- an older one ---
t "checkout" versions checkout -q HEAD~1 spec
is "it is what it was" "$(cat "$node/spec")" "$first"
is "the plug is in again, at once" "$(link)" up
is "what needs a start is told" \
	"$(json "$node/status.json" '.restart_required | tostring')" '["memory"]'
is "the machine runs on" "$(cat "$node/state")" up
is "git sees it" "$(versions status --porcelain)" "M  spec"
t "back to the last" versions reset -q --hard
is "is the last" "$(json "$node/spec" .memory)" 2G
is "in force" "$(json "$node/status.json" '.spec.memory, .restart_required')" \
	$'2G\n[]'
echo '{"cpus":7}' >>"$node/spec"
t "stash" versions stash -q
is "takes it away" "$(json "$node/status.json" .spec.cpus)" 2
t "stash pop" versions stash pop -q
is "brings it back" "$(json "$node/status.json" .spec.cpus)" 7
versions reset -q --hard

# --- one that is possible no more ---
echo '{"cpus":2,"forwards":{"8080":80}}' >"$node/spec"
versions commit -qam third
echo '{"cpus":3}' >"$node/spec"
versions commit -qam fourth
echo '{"forwards":{"8080":80}}' >"$M/nodes/node02/spec"
fails "a version that is possible no more is refused" \
	versions checkout -q HEAD~1 spec
like "error says why" "$(cat "$node/error")" '^refused: spec: .*8080.*node02'
is "the last one stays" "$(cat "$node/spec")" '{"cpus":3}'
t "the repository is private" test "$(stat -c %a "$VERSIONS/node01.git")" = 700
is "nothing of git is in the tree" "$(find "$node" -name '*git*')" ""
