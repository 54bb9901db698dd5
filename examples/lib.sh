# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What `make demo` and `make scenario` share: one cluster mounted at ./cluster,
# its state and its machines below ./.rackfs, a picture while something is
# waited for, and an end that leaves nothing running.  A script sets $state,
# $run and $again (the command that brings all back), and sources it.
: "${state:?}" "${run:?}" "${again:?}" "${rackfs:?}"
cluster=cluster

bold='' plain=''
[ ! -t 1 ] || { bold=$(tput bold) plain=$(tput sgr0); } 2>/dev/null
say() { echo "$bold$*$plain"; }

# --- mounted or not ----------------------------------------------------------------

# A dead daemon's mount is a mount point too, and doesn't answer.
answers() {
	mountpoint -q $cluster 2>/dev/null &&
		timeout 10 head -c 1 $cluster/README >/dev/null 2>&1
}
# Somebody else's cluster is at ./cluster: its machines have our ports.
is_other() {
	answers && ! { [ -e "$run/keeper.pid" ] &&
		kill -0 "$(cat "$run/keeper.pid")" 2>/dev/null; }
}
mount_it() {
	mkdir -p .rackfs
	"$rackfs" --state-dir "$state" --runtime-dir "$run" $cluster && return
	echo
	say "It did not start. What this host can do (rackfs doctor):"
	"$rackfs" doctor
	return 1
}
# Machines and switches: they run in a launch folder of the runtime directory.
machines() {
	local cwd at
	at=$(realpath -m "$run")
	for cwd in /proc/[0-9]*/cwd; do
		case $(readlink "$cwd" 2>/dev/null) in
		"$at"/*) basename "${cwd%/cwd}" ;;
		esac
	done
}

# --- what is waited for -------------------------------------------------------------

# One line a node: its state, and the stage that runs; an image that all wait
# for on a line of its own.
picture() {
	local node state stage image='' of
	for node in "$cluster"/nodes/*/; do
		[ -e "$node" ] || continue # there is none yet
		state=$(cat "$node/state")
		stage=$(awk '$2 == "running" { $2 = $3 = ""; gsub(/ +/, " "); print }' \
			"$node/progress")
		case $stage in
		image*) image=$stage ;;
		*) echo "$(basename "$node"): $state${stage:+, $stage}" ;;
		esac
	done
	[ -n "$image" ] || return
	for of in "$cluster"/images/*/; do
		[ "$(cat "$of/state")" != building ] ||
			echo "image $(basename "$of"): ${image#image}"
	done
}
# Shows it while process $1 runs: redrawn on a terminal, else line by line.
show_while() {
	local now last='' drawn=0
	while kill -0 "$1" 2>/dev/null; do
		if [ -t 1 ]; then
			[ "$drawn" = 0 ] || printf '\033[%dA\033[J' "$drawn"
			now=$(cat $cluster/status)
			echo "$now"
			drawn=$(wc -l <<<"$now")
		else
			now=$(picture 2>/dev/null)
			[ -z "$now" ] || grep -vxFf <(echo "$last") <<<"$now"
			last=$now
		fi
		sleep 0.3
	done
	[ "$drawn" = 0 ] || printf '\033[%dA\033[J' "$drawn"
}
# Runs a command that waits, shows what it waits for; its status.
watched() {
	"$@" >.rackfs/output 2>&1 </dev/null &
	local pid=$!
	# shellcheck disable=SC2064 # this pid
	trap "kill $pid 2>/dev/null; exit 130" INT TERM
	show_while $pid
	trap - INT TERM
	wait $pid
}
# up.sh of an example, with what went wrong.
bring_up() {
	local of
	watched "$1" $cluster && return
	say "It failed:"
	cat .rackfs/output
	for of in "$cluster/error" "$cluster"/{nodes,networks,images}/*/error; do
		[ ! -s "$of" ] || { echo "==> $of <==" && cat "$of"; }
	done
	say "What the machines were told and said: $cluster/nodes/*/{log,console}."
	say "Mend that, then \`$again\` goes on; \`$again-stop\` ends all."
	return 1
}
show() { # show NODE COMMAND: as a user would type it
	say '$'" ssh -F $cluster/ssh_config $1 '$2'"
	timeout 60 ssh -n -F $cluster/ssh_config "$1" "$2"
}

# --- stop ------------------------------------------------------------------------------

stop() {
	local daemon deadline left
	if is_other; then
		echo "Another cluster is mounted at ./$cluster; it is left alone." >&2
		exit 1
	fi
	# Machines that outlived their daemon are stopped by a new one.
	if ! answers; then
		if [ -z "$(machines)" ] && ! mountpoint -q $cluster 2>/dev/null; then
			say "Nothing is mounted and nothing runs."
			exit 0
		fi
		mount_it || exit 1
	fi
	daemon=$(cat "$run/keeper.pid" 2>/dev/null)
	say "All nodes down ..."
	echo down >$cluster/state
	watched cat $cluster/wait/all || {
		echo "Some would not go; pulling the plug."
		echo off >$cluster/state
		watched cat $cluster/wait/all
	}
	# A network goes after its last node.
	deadline=$((SECONDS + 20))
	while [ -n "$(machines)" ] && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
	say "Unmounting ..."
	# rackfs itself is inside for a moment when it tells of a change.
	deadline=$((SECONDS + 5))
	until fusermount3 -u $cluster 2>/dev/null || umount $cluster 2>/dev/null; do
		if [ $SECONDS -ge $deadline ]; then
			echo "./$cluster is in use: leave it (a shell, an editor), then again." >&2
			exit 1
		fi
		sleep 0.1
	done
	deadline=$((SECONDS + 20))
	while [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; do
		if [ $SECONDS -ge $deadline ]; then
			echo "The daemon (process $daemon) did not end." >&2
			exit 1
		fi
		sleep 0.1
	done
	rmdir $cluster 2>/dev/null
	left=$(machines)
	if [ -n "$left" ]; then
		# shellcheck disable=SC2086 # numbers
		echo "Still running:" $left >&2
		exit 1
	fi
	say "Nothing runs. The disks are kept in ./.rackfs; $again brings all back."
}
