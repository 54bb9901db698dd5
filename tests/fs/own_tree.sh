#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon never looks into the tree that it serves, where it would wait for
# itself: not for its own folders, not for host files of specs.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"

# --- its own folders ---
refused_at() { # refused_at WHAT SAYS OPTION...: the mount is refused
	local what=$1 says=$2 out rc
	shift 2
	out=$(timeout 30 "$RACKFS" "$@" 2>&1)
	rc=$?
	is "$what is refused" $rc 1
	like "and says what to do" "$out" "$says.*mount elsewhere"
}
refused_at "a mount over the state directory" "--state-dir $T/a/s" \
	--state-dir "$T/a/s" --runtime-dir "$R" "$T/a"
refused_at "and on itself" --state-dir --state-dir "$T/b" --runtime-dir "$R" "$T/b"
refused_at "over the runtime directory" --runtime-dir \
	--state-dir "$S" --runtime-dir "$T/c/d/r" "$T/c"
refused_at "over the program" program \
	--state-dir "$S" --runtime-dir "$R" "$(dirname "$(realpath "$RACKFS")")"
fails "nothing is mounted" grep -F " $T/" /proc/self/mounts

# --- host files of specs ---
fake 5ms
echo text >"$T/file"
ln -s "$M/hosts" "$T/link"
ln -s link "$T/link2"
ln -s "$M/.." "$T/up"
own() { # own PATH: the spec of a node that names it
	refused "a source ${1#"$T"}" EINVAL write "$M/nodes/node01/spec" \
		<<<"{\"files\":{\"/etc/x\":{\"source\":\"$1\"}}}"
	like "is told" "$(cat "$M/nodes/node01/error")" \
		'^refused: spec: files\./etc/x\.source: .* in this tree'
}
own "$M/hosts"
own "$M/nodes/node02/none"
own "$M"
own "$T/./m//../m/hosts"
own "$T/link"
own "$T/link2"
own "$T/up/m/hosts"
own "$T/link/../file"
ln -s loop "$T/loop"
for path in "$T/file" "$T/loop" "$T/none/../m/hosts" "${M}x"; do
	t "a source ${path#"$T"} is accepted" tee "$M/nodes/node01/spec" \
		<<<"{\"files\":{\"/etc/x\":{\"source\":\"$path\"}}}"
done
refused "one in the defaults" EINVAL append "$M/spec" \
	<<<"{\"defaults\":{\"files\":{\"/etc/x\":{\"source\":\"$M/hosts\"}}}}"
mkdir "$M/images/own"
refused "a kernel" EINVAL write "$M/images/own/spec" \
	<<<"{\"kind\":\"netboot\",\"kernel\":\"$M/a\",\"initrd\":\"$T/b\"}"
refused "a service's unit" EINVAL write "$M/nodes/node02/spec" \
	<<<"{\"disk\":{\"size\":\"1G\",\"partitions\":[{\"name\":\"r\",\"size\":\"100%\",\"filesystem\":\"ext4\",\"mount\":\"/\"}]},\"install\":{\"image\":\"own\"},\"services\":{\"x\":{\"source\":\"$M/hosts\"}}}"
t "the tree is served" timeout 10 cat "$M/state"

# A folder that was elsewhere when the spec was written, and is a link into the
# tree now: it is watched and looked at all the same.
turn() { echo text >"$T/turns/file"; }
mkdir "$T/turns" && turn
t "a source elsewhere" tee "$M/nodes/node03/spec" \
	<<<"{\"files\":{\"/etc/x\":{\"source\":\"$T/turns/file\"}}}"
echo up >"$M/nodes/node03/state"
is "is taken" "$(settle node03)" up
changes() { timeout 10 grep -c "turns/file changed" "$M/events"; }
more() { [ "$(changes)" -gt "$1" ]; }
rm -r "$T/turns"
eventually "its end is seen" 20 more 0
ln -s "$M/nodes" "$T/turns"
echo reboot >"$M/nodes/node03/state"
fails "a way into the tree" settle node03
like "is told" "$(timeout 10 cat "$M/nodes/node03/error")" \
	'files\./etc/x\.source: .* in this tree'
rm "$T/turns"
mkdir "$T/turns" && turn
eventually "and mended by a folder in its place" 20 reads "$M/nodes/node03/state" up

# Mounted where a spec has its files: the next start says so and goes on.
mkdir "$T/later"
echo text >"$T/later/file"
t "a source at a folder" tee "$M/nodes/node01/spec" \
	<<<"{\"files\":{\"/etc/x\":{\"source\":\"$T/later/file\"}}}"
stop_daemon
M=$T/later
# shellcheck disable=SC2119
start_daemon
like "that is mounted over later" "$(cat "$M/nodes/node01/error")" 'in this tree'
t "the spec is kept" grep -rqF "later/file" "$S/nodes/node01"
stop_daemon
M=$T/m
