# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What tests with real machines share, on top of tests/fs/lib.sh.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
# Without KVM, two cores and a build with sanitizers.
export LIMIT=300

for program in qemu-system-x86_64 vde_switch qemu-img ssh jq python3; do
	command -v $program >/dev/null || skip "$program is not here"
done

# The netboot image is built once for all tests of a build.
share_image() {
	mkdir -p "$RACKFS_BUILD/cache" "$S"
	chmod 700 "$S"
	ln -s "$RACKFS_BUILD/cache" "$S/cache"
}

start_cluster() {
	share_image
	# shellcheck disable=SC2119
	start_daemon
	own_port
}

# A demo that is up on this host has the first SSH ports: tests go without them.
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() {
	python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}
# For tests with one node.
own_port() {
	! taken 2201 || echo "{\"defaults\":{\"ssh\":{\"port\":$(free_port)}}}" \
		>"$M/spec"
}
again() { # after kill_daemon
	# shellcheck disable=SC2119
	start_daemon
}

# on NODE COMMAND: by name, through the tree's ssh_config.
on() {
	local node=$1
	shift
	timeout 60 ssh -n -F "$M/ssh_config" -o ConnectTimeout=20 "$node" "$@"
}

# Processes of ours: all QEMUs or switches, by their program's name; one node's.
pids_of() { # pids_of qemu-system|vde_switch
	local pid
	for pid in $(machine_pids); do
		case $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") in
		*"$1"*) echo "$pid" ;;
		esac
	done
}
qemu_pid() { # of a node
	local pid
	for pid in $(pids_of qemu-system); do
		if tr '\0' '\n' <"/proc/$pid/cmdline" |
			grep -qE "^(guest=)?$1(,|\$)"; then
			echo "$pid"
		fi
	done
}
count() { wc -w <<<"$*"; }
status() { json "$M/nodes/$1/status.json" "$2"; } # status NODE FILTER

took() { # took NODE: its stages, as a note
	status "$1" '"# \(input_filename | split("/")[-2]): " +
		([.stages[] | "\(.name) \(.seconds | round) s"] | join(", "))'
}

# A read of wait/ until a word comes, and what went wrong when it is another.
settles() { # settles NODE WORD WHAT
	local got
	got=$(settle "$1" 2>&1)
	if [ "$got" = "$2" ]; then
		ok "$3"
		return
	fi
	not_ok "$3: \"$got\" is not \"$2\""
	{
		cat "$M/status" "$M/error" "$M"/nodes/*/error
		[ "$1" = all ] || {
			cat "$M/nodes/$1/progress"
			tail -n 15 "$M/nodes/$1/log"
			tail -c 800 "$M/nodes/$1/console" | tr -dc '[:print:]\n'
		}
		[ "$(cat "$M/images/netboot/state")" = ready ] || {
			cat "$M/images/netboot/error"
			tail -n 20 "$M/images/netboot/log"
		}
	} 2>&1 | note
	return 1
}

# All pairs of n nodes: so many lines of reach with this loss.
pairs() { # pairs COUNT LOSS
	[ "$(grep -cE "^node.* $2%" "$M/networks/lan/reach")" -eq "$1" ]
}

# The test goes on with mounts of its own: what it puts over a folder of this
# host, nobody else sees.
own_mounts() {
	[ -z "${OWN_MOUNTS:-}" ] || return 0
	unshare --mount true 2>/dev/null || skip "only root has mounts of its own"
	trap - EXIT
	rm -f "$T/never"
	OWN_MOUNTS=1 exec unshare --mount "$0"
}
# The root file system that examples install; built once for all tests.
debian_rootfs() { # prints the path of its tar
	timeout 600 "$ROOT/backend/rootfs/build-rootfs.sh" \
		"$RACKFS_BUILD/cache" 2>"$T/err" |
		sed -n 's|^image \(.*\) [0-9a-f]*$|\1/rootfs.tar|p'
}
