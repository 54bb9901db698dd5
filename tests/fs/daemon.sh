#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon's life: background and foreground, SIGTERM, SIGINT, unmount, two
# of them, a stale mount, bad options, bad files in the store, doctor.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"

# --- in the background, as a person starts it ---
exec 8>"$T/lock"
flock -n 8
t "it returns when the tree can be used" timeout 60 "$RACKFS" --state-dir "$S" \
	--runtime-dir "$R" "$M"
exec 8>&-
t "it keeps no lock of whoever started it" flock -n "$T/lock" true
t "and then it can" test -s "$M/README"
D=$(cat "$R/keeper.pid")
t "keeper.pid holds a living process" kill -0 "$D"
t "daemon.pid too" kill -0 "$(cat "$R/daemon.pid")"
t "the mount point was made" mountpoint -q "$M"
mkdir "$M/nodes/node01"

# --- a second one ---
out=$(timeout 60 "$RACKFS" --state-dir "$S" --runtime-dir "$R" "$T/m2" 2>&1)
is "a second daemon on the state directory is refused" $? 1
like "with the first's pid" "$out" "\\b$D\\b"
out=$(timeout 60 "$RACKFS" --state-dir "$T/s2" --runtime-dir "$T/r2" "$M" 2>&1)
is "a second mount on the mount point is refused" $? 1
like "and says so" "$out" "$M|mount"
t "the first is unharmed" test -d "$M/nodes/node01"

# --- ends ---
stop_daemon
t "SIGTERM ended it" true
start() {
	# shellcheck disable=SC2119
	start_daemon
}
start
pid=$D D=''
kill -INT "$pid"
eventually "SIGINT ends it" 30 gone "$pid"
fails "and unmounts" mountpoint -q "$M"
start
pid=$D D=''
if command -v fusermount3 >/dev/null; then
	# The herald may be inside for a moment: busy, as with any program.
	eventually "fusermount3 -u" 30 fusermount3 -u "$M"
	eventually "ends it" 30 gone "$pid"
	start
	pid=$D D=''
fi
eventually "umount" 30 umount "$M"
eventually "ends it too" 30 gone "$pid"

# Who made a mount namespace of its own (a builder, a service) has a copy.
start
pid=$D D=''
mkfifo "$T/hold" "$T/held"
own=--mount
[ "$(id -u)" = 0 ] || own=--mount\ --user\ --map-root-user
# shellcheck disable=SC2016,SC2086 # $0 is the inner shell's; some words
timeout 120 unshare $own sh -c 'echo >"$0/held"; read -r _ <"$0/hold"
	mountpoint -q "$0/m"; echo $? >"$0/copy"' "$T" </dev/null >/dev/null 2>&1 &
other=$!
if read -rt 60 _ <"$T/held"; then
	exec 4<"$M/README"
	t "umount -l with a file open and a copy elsewhere" umount -l "$M"
	like "who has the file open reads on" "$(cat <&4)" "rack of machines"
	t "and it is served meanwhile" kill -0 "$pid"
	exec 4<&-
	eventually "the last close ends it, whoever has a copy" 30 gone "$pid"
	start
	stop_daemon
	ok "and another one may be mounted there"
	echo >"$T/hold"
	wait $other
	is "the copy was there all the while" "$(cat "$T/copy")" 0
else
	echo "skip a copy of the mount: unshare makes no mount namespace here"
	stop_daemon
fi

# --- a dead mount ---
start
kill_daemon
refused "the mount of a dead daemon" ENOTCONN read "$M/README"
start
t "is taken over by the next" test -d "$M/nodes/node01"
stop_daemon

# --- options ---
out=$("$RACKFS" --help 2>&1)
is "--help is no error" $? 0
for option in --foreground --state-dir --runtime-dir --log-level doctor; do
	like "--help knows $option" "$out" "$option"
done
out=$("$RACKFS" --nonsense "$M" 2>&1)
is "an unknown option is refused" "$(($? != 0))" 1
like "and named" "$out" nonsense
out=$("$RACKFS" 2>&1)
is "without a mount point it says how" "$(($? != 0))" 1
like "... with the usage" "$out" MOUNTPOINT
out=$("$RACKFS" --log-level loud "$M" 2>&1)
is "an unknown level is refused" "$(($? != 0))" 1
for option in nonsense max_read=4096 noatime,max_read=131072; do
	out=$(timeout 20 "$RACKFS" -o $option --state-dir "$S" \
		--runtime-dir "$R" "$M" 2>&1)
	is "-o $option is refused" "$(($? != 0))" 1
	like "and named" "$out" "${option#*,}"
done
echo file >"$T/file"
out=$(timeout 20 "$RACKFS" --state-dir "$S" --runtime-dir "$R" "$T/file" 2>&1)
is "a file is no mount point" "$(($? != 0))" 1
like "and it says so" "$out" "$T/file"
deep=$T/$(printf 'a%.0s' {1..100})/$(printf 'b%.0s' {1..100})
mkdir -p "$deep"
out=$(timeout 20 "$RACKFS" --state-dir "$deep/s" --runtime-dir "$deep/r" \
	"$deep/m" 2>&1)
is "long paths are no matter" $? 0
is "of state, runtime and mount" "$(cat "$deep/m/state" 2>&1)" down
pid=$(cat "$deep/r/keeper.pid")
kill -TERM "$pid"
eventually "and it ends" 30 gone "$pid"

# --- a store with bad files ---
start
mkdir "$M/nodes/node02"
echo '{"cpus":3}' >"$M/nodes/node02/spec"
stop_daemon
file=$(grep -rlF '"cpus":3' "$S")
echo "not JSON" >"$file"
start
t "a torn spec does not keep the daemon from starting" test -d "$M/nodes/node01"
like "it is told" "$(cat "$M/error" "$M/nodes/node02/error" "$M/events" 2>&1)" \
	'node02'
t "and the bad file is kept" grep -rqF "not JSON" "$S"
stop_daemon

# --- doctor ---
out=$("$RACKFS" doctor 2>&1)
rc=$?
is "doctor can say yes and no" "$((rc == 0 || rc == 1))" 1
for what in fuse kvm qemu vde zstd linger; do
	like "doctor looks at $what" "$(tr '[:upper:]' '[:lower:]' <<<"$out")" "$what"
done
if [ $rc = 0 ]; then
	out=$(PATH=/usr/bin/none "$RACKFS" doctor 2>&1)
	is "without any program it says no" $? 1
	like "and what to install" "$out" 'apt-get install.*(qemu-system-x86|vde2)'
fi

# --- readiness for a service manager ---
if command -v socat >/dev/null; then
	socat -u "UNIX-RECVFROM:$T/notify" - >"$T/ready" &
	listener=$!
	until_true 10 test -S "$T/notify"
	NOTIFY_SOCKET=$T/notify start
	wait $listener
	like "READY=1 is sent" "$(cat "$T/ready")" '^READY=1'
	stop_daemon
else
	echo "skip READY=1: socat is not here"
fi
