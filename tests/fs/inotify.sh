#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Changes that the daemon makes wake inotify watchers as a program's would:
# small files, growing files, what comes and goes; the last value is always
# seen; a herald that dies comes back.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
command -v inotifywait >/dev/null || skip "inotifywait (inotify-tools)"
fake 10ms
cd "$M" || exit 1

watch() { # watch NAME PATH...: events go to $T/NAME
	local name=$1
	shift
	rm -f "$T/$name.err" # of an earlier one
	inotifywait -m --format '%w%f %e' "$@" >"$T/$name" 2>"$T/$name.err" &
	watcher=$!
	until_true 20 grep -q 'Watches established' "$T/$name.err" ||
		not_ok "inotifywait did not begin"
}
unwatch() {
	kill $watcher
	wait $watcher 2>/dev/null
}
saw() { # saw NAME REGEX
	grep -qE -- "$2" "$T/$1"
}

# --- what is told late of the nodes' making must not be taken for news ---
# Orders are carried out in turn, at most one of a file at a time: those before
# the first refusal have been, once a later one is told; what is told first may
# be of the making itself.
refusals_told() {
	[ "$(grep -c '^nodes/node03/error CLOSE_WRITE' "$T/quiet")" -ge "$1" ]
}
watch quiet nodes/node03/error
for i in 1 2 3; do
	fails "nonsense is refused" tee nodes/node03/state <<<"nonsense$i"
	eventually "and that is told" 20 refusals_told $i
done
unwatch

# --- one node goes up; nobody but the daemon writes after the first line ---
watch up nodes/node01/{state,spec,progress,status.json,error,log,console} \
	status events
echo up >nodes/node01/state
is "it is up" "$(settle node01)" up
echo reboot >nodes/node01/state
is "and again" "$(settle node01)" up
for file in nodes/node01/{state,progress,status.json} status; do
	eventually "$file: MODIFY" 20 saw up "^$file MODIFY"
	eventually "$file: CLOSE_WRITE" 20 saw up "^$file CLOSE_WRITE"
done
for file in nodes/node01/{log,console} events; do
	eventually "$file: MODIFY" 20 saw up "^$file MODIFY"
	fails "$file: it grows, nobody closed it" saw up "^$file CLOSE_WRITE"
done
fails "spec has not changed" saw up '^nodes/node01/spec '
echo '{"bad' >nodes/node01/spec 2>/dev/null
eventually "error, of a refused spec" 20 saw up '^nodes/node01/error CLOSE_WRITE'
is "what is refused was not changed" "$(cat nodes/node01/spec)" '{}'
unwatch

# --- the last value, over many changes ---
cat >"$T/last.sh" <<'SH'
inotifywait -m -q -e close_write --format x nodes/node02/state |
while read -r _; do
	cat nodes/node02/state >"$T/last.new" && mv "$T/last.new" "$T/last"
done
SH
watch ready nodes/node02/state
setsid bash "$T/last.sh" &
script=$!
# Its watch is there once it has seen a first change.
until_true 20 sh -c "echo up >nodes/node02/state; test -s '$T/last'"
for _ in {1..30}; do
	echo up >nodes/node02/state
	settle node02 >/dev/null
	echo down >nodes/node02/state
	settle node02 >/dev/null
done
eventually "the last value is seen: down" 20 reads "$T/last" down
echo up >nodes/node02/state
settle node02 >/dev/null
eventually "and up" 20 reads "$T/last" up
kill -- -$script
wait $script 2>/dev/null
unwatch

# --- what comes and goes ---
watch tree nodes networks images wait
mkdir nodes/node09
rmdir_when_looked_at() { settle "$1" >/dev/null && rmdir "nodes/$1"; }
t "rmdir" rmdir_when_looked_at node09
mkdir networks/more && rmdir networks/more
mkdir images/more && rmdir images/more
for what in nodes/node09 networks/more images/more; do
	eventually "$what: CREATE" 20 saw tree "^$what CREATE,ISDIR"
	eventually "$what: DELETE" 20 saw tree "^$what DELETE,ISDIR"
	is "$what: each once" "$(grep -cE "^$what (CREATE|DELETE)" "$T/tree")" 2
done
eventually "wait/node09: CREATE" 20 saw tree '^wait/node09 CREATE$'
eventually "wait/node09: DELETE" 20 saw tree '^wait/node09 DELETE$'
unwatch

# --- files that show what another one has changed ---
mkdir networks/other images/other
settle >/dev/null
differs() { [ "$(cat "$1")" != "$2" ]; } # differs FILE TEXT
shows() { # shows FILE CHANGE: it is another then, and its watcher is told
	local before
	watch shows "$1"
	before=$(cat "$1")
	eval "$2" 2>/dev/null
	eventually "$1, by $2" 20 differs "$1" "$before"
	eventually "and is told" 20 saw shows "^$1 CLOSE_WRITE"
	unwatch
}
shows status.json 'echo "{\"mtu\":1400}" >networks/other/spec'
shows status.json 'echo "{\"kind\":\"rootfs\",\"source\":\"/none\"}" >images/other/spec'
shows status.json 'mkdir nodes/Bad'
shows status.json 'echo "{\"on_drift\":\"report\"}" >>spec'
shows nodes/node03/status.json 'echo nonsense >nodes/node03/state'
shows nodes/node03/progress 'echo "{\"tls\":{}}" >>nodes/node03/spec'
shows nodes/node03/disk 'echo "{\"size\":\"2G\"}" >nodes/node03/disk'
rmdir networks/other images/other

# --- attributes are new when the watcher is told ---
watch size nodes/node01/progress
before=$(stat -c %Y.%y nodes/node01/progress)
echo reboot >nodes/node01/state
settle node01 >/dev/null
eventually "a change is told" 20 saw size CLOSE_WRITE
fails "mtime is another" [ "$(stat -c %Y.%y nodes/node01/progress)" = "$before" ]
is "and the size is true" "$(stat -c %s nodes/node01/progress)" \
	"$(wc -c <nodes/node01/progress)"
unwatch

# --- without a herald, and with the next one ---
herald() { # its pid
	grep -lx rackfs-herald /proc/[0-9]*/comm 2>/dev/null |
		while IFS=/ read -r _ _ pid _; do
			grep -q "^PPid:[[:space:]]$D$" "/proc/$pid/status" 2>/dev/null &&
				! grep -q '^State:[[:space:]]Z' "/proc/$pid/status" &&
				echo "$pid"
		done
}
old=$(herald)
like "there is one herald" "$old" '^[0-9]+$'
t "what changes while it tells is told too" timeout 120 python3 \
	"$ROOT/tests/fs/told.py" "$M" "$old"
watch again nodes/node01/state
kill -KILL "$old"
echo down >nodes/node01/state
is "everything else works on" "$(settle node01)" down
another() { [ -n "$(herald)" ] && [ "$(herald)" != "$old" ]; }
eventually "another herald comes" 20 another
: >"$T/again"
echo up >nodes/node01/state
settle node01 >/dev/null
eventually "and tells" 20 saw again 'state CLOSE_WRITE'
unwatch

# --- who watches a directory is told of files that nobody has looked up ---
mkdir nodes/fresh
settle fresh >/dev/null
cd "$T" || exit 1
stop_daemon
# shellcheck disable=SC2119
start_daemon
watch folder "$M/nodes/fresh" "$M/networks/lan" "$M"
echo up >"$M/state"
settle >/dev/null
refused "a wrong spec" EINVAL write "$M/spec" <<<'{"no":1}'
for file in nodes/fresh/{state,progress,status.json} status error; do
	eventually "$file, by its directory: CLOSE_WRITE" 20 \
		saw folder "^$M/$file CLOSE_WRITE"
done
for file in nodes/fresh/console events; do
	eventually "$file, by its directory: MODIFY" 20 saw folder "^$M/$file MODIFY"
done
unwatch
# The daemon's death in between: all are told once more.
kill -KILL "$(cat "$R/daemon.pid")"
echo down >"$M/nodes/fresh/state"
settle fresh >/dev/null
watch folder "$M/nodes/fresh"
kill -KILL "$(cat "$R/daemon.pid")"
eventually "after the daemon's death as well" 20 \
	saw folder "^$M/nodes/fresh/state CLOSE_WRITE"
unwatch
cd "$M" || exit 1

# --- files of directories that nobody has looked up cost nothing ---
# The herald sleeps while nodes change that nobody knows: it is woken from its
# socket for the files at the top, and no others.
calls() { awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$(herald)/status"; }
for i in {1..30}; do mkdir "nodes/unseen$i"; done
settle >/dev/null
cd "$T" || exit 1
stop_daemon
# shellcheck disable=SC2119
start_daemon
there_is_one() { [ -n "$(herald)" ]; }
eventually "a herald is there" 20 there_is_one
story() { # by way of the cluster's file: no name below nodes/ is looked up
	local before verb
	before=$(calls)
	for verb in up down; do
		echo $verb >"$M/state"
		settle >/dev/null
	done
	told=$(($(calls) - before))
}
story
unseen=$told
ls "$M"/nodes/* >/dev/null
story
note <<<"told: $unseen times, $told once the nodes were looked up"
is "those that were not looked up are not told" "$((unseen * 2 < told))" 1
