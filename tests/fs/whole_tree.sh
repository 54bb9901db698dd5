#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Tools that walk the whole tree: each ends, and what it takes along is what is
# there; and times, by which make, find and rsync decide what is new.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms
echo up >"$M/state"
is "all are up" "$(settle)" up
cd "$M" || exit 1

# --- walks: nothing of a settled tree waits ---
walk() { # walk NAME COMMAND...
	local what=$1
	shift
	t "$what" timeout 20 sh -c "$1"
}
files=$(find . -type f | wc -l)
is "find sees the nodes" "$(find . -path './nodes/*/spec' | wc -l)" 3
walk "find and cat" 'find . -type f -exec cat {} + >/dev/null'
walk "grep -r" 'grep -rq 10.36.0.11 .'
walk "ls -R" 'ls -lR . >/dev/null'
walk "du" 'du -a . >/dev/null'
walk "wc" "find . -type f -print0 | wc -c --files0-from=- >/dev/null"
walk "tar" "tar cf '$T/tar' . 2>'$T/said'"
is "of all files" "$(tar tf "$T/tar" | grep -vc '/$')" "$files"
walk "cp -a" "cp -a . '$T/copy'"
walk "diff -r" "diff -r --exclude='*.prom' --exclude=progress --exclude=timeline.svg . '$T/copy'"
walk "rsync" "! command -v rsync >/dev/null || rsync -a ./ '$T/synced/'"
size=$(find . -type f -printf '%s %p\n' | while read -r size name; do
	case $name in ./wait/* | *.prom | *.svg | */progress) continue ;; esac
	[ "$(wc -c <"$name")" = "$size" ] || echo "$name"
done)
is "sizes are true" "$size" ""

# Of one that has not, only wait/ does.
echo '{"fake":{"delay":"1h"}}' >nodes/node01/spec
echo reboot >nodes/node01/state
is "a node is on its way" "$(cat state)" converging
walk "without wait/, grep -r" 'grep -rq --exclude-dir=wait 10.36.0.11 .'
walk "nodes/ alone" 'grep -rq cpus nodes'
walk "du needs no read" 'du -a . >/dev/null'
walk "nor does tar, of an empty file" "tar cf '$T/tar' . 2>'$T/said'"
walk "nor rsync" "! command -v rsync >/dev/null || rsync -a ./ '$T/synced/'"
walk "a shell that completes names" 'ls -d wait/* nodes/*/* >/dev/null'

# --- times ---
echo off >state
is "all are down" "$(settle)" down
time_of() { stat -c %y "$@"; }
dir=$(time_of nodes/node02)
echo x >nodes/node02/x
fails "a temporary file changes its directory" [ "$(time_of nodes/node02)" = "$dir" ]
dir=$(time_of nodes/node02)
rm nodes/node02/spec
fails "spec that goes does" [ "$(time_of nodes/node02)" = "$dir" ]
dir=$(time_of nodes/node02)
eventually "it is back" 10 test -e nodes/node02/spec
fails "and that does" [ "$(time_of nodes/node02)" = "$dir" ]
is "another directory stays" "$(time_of nodes/node01)" "$(time_of nodes/node03)"
touch -d 2020-01-02T03:04:05Z "$S"/nodes/node02/{spec,log}
kill -KILL "$(cat "$R/daemon.pid")"
is "another daemon" "$(cat state)" down
for file in spec disk log; do
	is "keeps the time of $file" "$(stat -c %Y nodes/node02/$file)" 1577934245
done
