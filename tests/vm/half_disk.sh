#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kill -9 of the daemon, then also of QEMU, between sfdisk and mkfs: the disk is
# ours, and is finished; what outlived the daemon in the guest is not doubled.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
start_cluster
mkdir "$M/nodes/node01"
cp "$ROOT/examples/three-nodes/node01.spec" "$M/nodes/node01/spec"

# A foreign disk holds the node before its partition stage, with SSH there.
foreign() {
	rm -f "$T/foreign"
	truncate -s 4G "$T/foreign"
	mkfs.ext4 -q -F "$T/foreign"
	qemu-img convert -O qcow2 "$T/foreign" "$disk"
}
# Then, in the guest, its mkfs programs wait for a gate, and the disk is blank.
# Ends when the layout was written and the first mkfs waits.
hold() {
	on node01 "mkdir -p /run/gate /run/real
		for p in mkfs.vfat mkfs.ext4; do
			at=\$(command -v \$p)
			cp -L \$at /run/real/\$p; rm \$at
			printf '#!/bin/sh\necho begin >>/run/ran\nwhile [ -e /run/gate ]; do sleep 0.1; done\n/run/real/%s \"\$@\"\nrc=\$?\necho end >>/run/ran\nexit \$rc\n' \
				\$p >\$at
			chmod +x \$at
		done
		dd if=/dev/zero of=/dev/vda bs=1M count=2 2>/dev/null
		sync; blockdev --flushbufs /dev/vda" || not_ok "the guest's gate"
	echo up >"$M/nodes/node01/state"
	eventually "$1: the first mkfs waits" 60 on node01 test -s /run/ran
	like "$1: the table is written" "$(on node01 sfdisk -d /dev/vda)" \
		'/dev/vda2'
	is "$1: no file system is there" \
		"$(on node01 "blkid -p -s TYPE -o value /dev/vda2")" ""
}
laid_out() {
	local out
	out=$(on node01 "cat /proc/mounts")
	like "$1: root is mounted" "$out" '^/dev/vda2 /mnt ext4'
	like "$1: the ESP is mounted" "$out" '^/dev/vda1 /mnt/boot vfat'
}
prepare() {
	echo off >"$M/nodes/node01/state"
	settle node01 >/dev/null
	echo wipe >"$M/nodes/node01/state"
	settles node01 down "$1: begins down"
	foreign
	echo up >"$M/nodes/node01/state"
	refused "$1: its foreign disk holds it" EIO read "$M/wait/node01"
}

echo up >"$M/nodes/node01/state"
settles node01 up "a first start" || exit 1
disk=$(status node01 '.disk.path? // empty')
[ -n "$disk" ] ||
	disk=$(find "$S" -path '*node01*' -name 'disk*' -size +100k -type f)
t "its disk is a file" test -f "$disk"

# --- the daemon --------------------------------------------------------------------

prepare daemon
hold daemon
pid=$(qemu_pid node01)
kill_daemon
again
eventually "daemon: the next one waits for what runs in the guest" 60 \
	grep -qE '^partition +running' "$M/nodes/node01/progress"
ssh_gate() { ssh -n -F "$M/ssh_config" node01 rm -rf /run/gate; }
t "daemon: the gate opens" timeout 60 bash -c "$(declare -f ssh_gate); M=$M ssh_gate"
settles node01 up "daemon: the disk is finished"
laid_out daemon
is "daemon: no two of these programs ran at a time" \
	"$(on node01 "uniq -d /run/ran")" ""
is "daemon: in the same machine" "$(qemu_pid node01)" "$pid"

# --- both ------------------------------------------------------------------------------

prepare both
hold both
pid=$(qemu_pid node01)
kill_daemon
kill -KILL "$pid"
until_true 20 gone "$pid"
again
settles node01 up "both: after a crash of the host too the disk is finished"
laid_out both
