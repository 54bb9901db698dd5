#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What each system call answers on files of the tree: ways to write a document,
# maps, copies, modes, owners, times, attributes, links, and who may.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
timeout 120 python3 "$ROOT/tests/fs/syscalls.py" "$M" "$R" || bad=$((bad + 1))
stop_daemon

# Other users: what is theirs to read they read, nothing is theirs to write.
[ "$(id -u)" = 0 ] || skip "other users: needs root"
chmod 755 "$T"
start_daemon -o allow_other
other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
cd "$M" || exit 1
t "another user reads state" other cat nodes/node01/state
fails "but not spec" other cat nodes/node01/spec
for what in "touch nodes/node01/x" "ln -s x nodes/node01/x" \
	"rm nodes/node01/spec" "mv nodes/node01/spec nodes/node01/y" \
	"mkdir nodes/x" "chmod 600 nodes/node01/spec" \
	"chmod 644 nodes/node01/state" "truncate -s 0 nodes/node01/spec"; do
	# shellcheck disable=SC2086 # words
	fails "another user can't $what" other $what
done
install -m 666 /dev/null nodes/node01/open
install -m 600 /dev/null nodes/node01/closed
t "a temporary file for all" other sh -c 'echo x >>nodes/node01/open'
fails "and one that is not" other cat nodes/node01/closed
fails "nor given its mode" other chmod 644 nodes/node01/closed
fails "nor taken" other chown 65534 nodes/node01/open
fails "nor moved" other mv nodes/node01/open nodes/node01/spec
