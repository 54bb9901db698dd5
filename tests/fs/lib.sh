# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What shell tests share: a daemon on private folders, checks that print "ok"
# and "not ok", waiting for what is expected, and an end that takes all away.
# A test sources it, mounts, and works in the tree below $M.
set -u
: "${T:?run me by tests/run}" "${RACKFS:?}" "${ROOT:?}"

M=$T/m   # the mount point
S=$T/s   # state directory
R=$T/r   # runtime directory
D=       # the keeper's pid while it is ours
LIMIT=30 # seconds that anything with fake nodes may take

# --- checks ----------------------------------------------------------------------

bad=0
ok() { echo "ok $*"; }
not_ok() {
	bad=$((bad + 1))
	echo "not ok $*"
}
note() { sed 's/^/# /'; }
skip() { # the whole test: what is missing
	echo "skip $(basename "$0" .sh): $*"
	exit 77
}

# t WHAT COMMAND...: the command succeeds.
t() {
	local what=$1 out rc
	shift
	out=$("$@" 2>&1)
	rc=$?
	if [ $rc = 0 ]; then
		ok "$what"
	else
		not_ok "$what: \`$*\` gave $rc"
		note <<<"$out"
	fi
}
# fails WHAT COMMAND...: it does not.
fails() {
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then
		not_ok "$what: \`$*\` succeeded"
		note <<<"$out"
	else
		ok "$what"
	fi
}
# is WHAT GOT WANTED
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1: \"$2\" is not \"$3\""
	fi
}
# like WHAT TEXT REGEX (extended, of grep; any line)
like() {
	if grep -qE -- "$3" <<<"$2"; then
		ok "$1"
	else
		not_ok "$1: /$3/ is not in"
		note <<<"$2"
	fi
}
unlike() {
	if grep -qE -- "$3" <<<"$2"; then
		not_ok "$1: /$3/ is in"
		note <<<"$2"
	else
		ok "$1"
	fi
}
# refused WHAT ERRNO OPERATION...: as errno.py tells it ("EINVAL").
refused() {
	local what=$1 wanted=$2 got
	shift 2
	got=$(call "$@")
	if [ "$got" = "$wanted" ]; then
		ok "$what: ${got/OK/accepted}"
	else
		not_ok "$what: ${*:0:60} gave $got, not $wanted"
	fi
}
# One system call's errno by name, or OK: call write FILE <text, call mkdir ...
call() { timeout 60 python3 "$ROOT/tests/fs/errno.py" "$@"; }

# until_true SECONDS COMMAND...: looks again and again until it succeeds.
until_true() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $deadline ]; then return 1; fi
		read -rt 0.05 <>"$T/never"
	done
	return 0
}
mkfifo "$T/never"
# eventually WHAT SECONDS COMMAND...
eventually() {
	local what=$1
	shift
	if until_true "$@"; then ok "$what"; else not_ok "$what: not within $*"; fi
}
reads() { [ "$(cat "$1")" = "$2" ]; } # reads FILE TEXT

json() { timeout 20 jq -r "$2" "$1"; } # json FILE FILTER

# settle [NODE]: what wait/ gives; its exit status.
# shellcheck disable=SC2120 # most mean all
settle() { timeout "${2:-$LIMIT}" cat "$M/wait/${1:-all}"; }

# --- the daemon ------------------------------------------------------------------

# Starts keeper and daemon in the foreground, its log in $T/daemon.log; returns when the tree
# can be used.
# shellcheck disable=SC2120 # some tests give more options
start_daemon() {
	setsid "$RACKFS" --foreground --log-level debug --state-dir "$S" \
		--runtime-dir "$R" "$@" "$M" >>"$T/daemon.log" 2>&1 </dev/null &
	D=$!
	disown $D
	if until_true 60 usable; then return 0; fi
	not_ok "the daemon did not start"
	note <"$T/daemon.log"
	exit 1
}
# The same, with gate.c preloaded: it stops where $GATE says.
gate_start() {
	export GATE=$T/gate
	command -v "${CC:=cc}" >/dev/null || skip "$CC is not here"
	[ -e "$T/gate.so" ] || $CC -shared -fPIC -O1 -D_GNU_SOURCE \
		-o "$T/gate.so" "$ROOT/tests/fs/gate.c" -ldl || exit 1
	# shellcheck disable=SC2119
	ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 \
		LD_PRELOAD=$T/gate.so start_daemon
}
usable() {
	if ! kill -0 "$D" 2>/dev/null; then
		not_ok "the daemon ended at its start"
		note <"$T/daemon.log"
		exit 1
	fi
	# A read: what stat says of a dead daemon's mount comes from a cache.
	mountpoint -q "$M" && timeout 20 head -c 1 "$M/README"
}
gone() { ! kill -0 "$1" 2>/dev/null; }

# As an administrator would: SIGTERM, and it unmounts.
stop_daemon() {
	local pid=$D
	D=
	kill -TERM "$pid"
	until_true 60 gone "$pid" || {
		not_ok "the daemon did not end at SIGTERM"
		kill -KILL "$pid"
	}
	! mountpoint -q "$M" || not_ok "the mount is still there"
}
# As the kernel would when memory ends: keeper and daemon, at once.  The dead
# mount stays as it is: the next start must deal with it.
kill_daemon() {
	local pid=$D daemon
	D=
	daemon=$(cat "$R/daemon.pid")
	# The keeper first, so that it starts no other daemon; which is stopped
	# before, so that it can't unmount when it sees the keeper's end.
	kill -STOP "$daemon"
	kill -KILL "$pid" "$daemon"
	until_true 20 gone "$pid"
	until_true 20 gone "$daemon"
}

# A cluster of fake nodes that need DELAY a stage.
fake() {
	# shellcheck disable=SC2119
	start_daemon
	echo "{\"defaults\":{\"driver\":\"fake\",\"fake\":{\"delay\":\"$1\"}}}" \
		>"$M/spec"
	mkdir "$M"/nodes/node0{1,2,3} || not_ok "mkdir of nodes"
}

# --- the end -----------------------------------------------------------------------

device_of() { awk -v m="$M" '$5 == m { sub(".*:", "", $3); print $3 }' \
	/proc/self/mountinfo; }

# Machines go through the tree; what is left then by the pids of the launch
# records below our own runtime directory, when they still run in its folders.
cleanup() {
	local rc=$? pid device
	trap - EXIT INT TERM HUP
	at_end
	if [ -n "$D" ] && ! gone "$D"; then
		if timeout 5 cat "$M/state" >/dev/null 2>&1 && machines_run; then
			# shellcheck disable=SC2016
			timeout 90 sh -c 'echo off >"$0/state" && cat "$0/wait/all"' \
				"$M" >/dev/null 2>&1
		fi
		kill -TERM "$D"
		until_true 30 gone "$D" || kill -KILL "$D"
	fi
	device=$(device_of)
	if [ -n "$device" ]; then
		fusermount3 -u "$M" 2>/dev/null || umount "$M" 2>/dev/null || {
			echo 1 >"/sys/fs/fuse/connections/$device/abort"
			umount -l "$M"
		} 2>/dev/null
	fi
	for pid in $(machine_pids); do
		kill -KILL "$pid" 2>/dev/null && until_true 10 gone "$pid"
	done
	if [ $bad -gt 0 ] && [ -s "$T/daemon.log" ]; then
		echo "# --- the end of the daemon's log:"
		tail -n 40 "$T/daemon.log" | note
	fi
	# A bare exit would give the status of before the trap.
	[ $bad -eq 0 ] || rc=1
	exit $rc
}
at_end() { :; } # what a test has to end beside the daemon
# Of the machines and switches whose launch records are below our runtime
# directory: processes that run in such a folder.
machine_pids() {
	local cwd pid
	for cwd in /proc/[0-9]*/cwd; do
		[ -e "$(readlink "$cwd" 2>/dev/null)/record" ] || continue
		case $(readlink "$cwd") in
		"$R"/*) ;;
		*) continue ;;
		esac
		pid=${cwd#/proc/}
		echo "${pid%/cwd}"
	done
}
machines_run() { [ -n "$(machine_pids)" ]; }
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
