#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Volumes and the disk of a real machine: made, kept over a restart, grown, and
# never touched when somebody else's data is on them; a file of the host as a
# read-only disk.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for program in mkfs.ext4 sha256sum; do
	command -v $program >/dev/null || skip "$program is not here"
done
start_cluster

# Its size is no multiple of a sector's.
head -c 1234567 /dev/urandom >"$T/payload.tar"
spec() { # spec DISK DATA: their sizes
	cat <<-END
		{
		  "memory": "256M",
		  "disk": {
		    "size": "$1",
		    "partitions": [
		      {"name": "root", "size": "100%", "filesystem": "ext4", "mount": "/"}
		    ]
		  },
		  "volumes": {
		    "data": {"size": "$2", "filesystem": "ext4", "label": "data", "mount": "/srv"},
		    "exchange": {"size": "100M", "filesystem": "vfat", "mount": "/srv/exchange"},
		    "swap": {"size": "64M", "filesystem": "swap"}
		  },
		  "qemu": {"args": [
		    "-blockdev", "driver=raw,node-name=payload,read-only=on,file.driver=file,file.filename=$T/payload.tar",
		    "-device", "virtio-blk-pci,drive=payload,serial=payload"
		  ]}
		}
	END
}
mounts() { on node01 "cat /proc/mounts /proc/swaps"; }
look_at_mounts() { # WHAT
	local out
	out=$(mounts)
	like "$1: the disk is mounted" "$out" '^/dev/vd[a-z]1 /mnt ext4'
	like "$1: a volume below it" "$out" '^/dev/vd[a-z] /mnt/srv ext4'
	like "$1: and one below that" "$out" '^/dev/vd[a-z] /mnt/srv/exchange vfat'
	like "$1: swap is on" "$out" '^/dev/vd[a-z] .*partition'
}
mebibytes() { on node01 "df -m $1" | awk 'END { print $2 }'; }

mkdir "$M/nodes/node01"
spec 512M 300M >"$M/nodes/node01/spec"
echo up >"$M/nodes/node01/state"
settles node01 up "a first start" || exit 1
look_at_mounts "first start"
is "the read-only disk has every byte of its file" \
	"$(on node01 "cat /sys/block/*/serial >/dev/null
	for d in /sys/block/vd*; do
		[ \"\$(cat \$d/serial)\" = payload ] || continue
		head -c 1234567 /dev/\${d##*/} | sha256sum
		cat \$d/ro
	done")" "$(sha256sum <"$T/payload.tar")
1"
t "a file is written to each" on node01 "echo on disk >/mnt/file
	echo on data >/mnt/srv/file
	echo on exchange >/mnt/srv/exchange/file
	sync"
uuids() { on node01 "for d in /dev/vd[a-z]; do
	blkid -p -s UUID -o value \$d; done"; }
before=$(uuids)
is "each volume has a file system of its own" \
	"$(sort -u <<<"$before" | wc -l)" 3

# --- the disk and a volume grow while it runs, another comes ---------------------

pid=$(qemu_pid node01)
spec 1G 600M >"$M/nodes/node01/spec"
echo '{"volumes":{"late":{"size":"200M","filesystem":"ext4","label":"late",
	"mount":"/srv/late"}}}' >>"$M/nodes/node01/spec"
grown() { [ "$(mebibytes "$1")" -gt "$2" ]; }
eventually "the disk is grown" 120 grown /mnt 800
settles node01 up "the node is up with larger disks and one more"
is "in the same machine" "$(qemu_pid node01)" "$pid"
t "the volume is grown" grown /mnt/srv 500
like "the late one is mounted" "$(mounts)" '^/dev/vd[a-z] /mnt/srv/late ext4'
is "nothing waits for a restart" \
	"$(status node01 '.restart_required | tostring')" "[]"
t "it takes a file" on node01 "echo late >/mnt/srv/late/file; sync"
before=$(uuids)
echo reboot >"$M/nodes/node01/state"
another() {
	local now
	now=$(qemu_pid node01)
	[ -n "$now" ] && [ "$now" != "$pid" ]
}
eventually "the machine is another" 120 another
settles node01 up "it starts again"
look_at_mounts "second start"
is "nothing is lost" \
	"$(on node01 cat /mnt/file /mnt/srv/file /mnt/srv/exchange/file \
		/mnt/srv/late/file)" "on disk
on data
on exchange
late"
is "no volume was made anew" "$(uuids | sort)" "$(sort <<<"$before")"

# --- somebody else's data ----------------------------------------------------------

echo down >"$M/nodes/node01/state"
settles node01 down "it goes down"
foreign=$(find "$S" -path '*node01*' -name 'volume*' -size +500k -print -quit)
truncate -s 600M "$T/foreign"
mkfs.ext4 -q -F -L theirs "$T/foreign"
qemu-img convert -O qcow2 "$T/foreign" "$foreign"
echo up >"$M/nodes/node01/state"
refused "a volume of somebody else holds it" EIO read "$M/wait/node01"
like "which, and what is on it" "$(cat "$M/nodes/node01/error")" \
	'volume .*ext4 "theirs"'
echo off >"$M/nodes/node01/state"
settles node01 down "it is off"
qemu-img convert -O raw "$foreign" "$T/now"
t "not a byte of it was written" cmp "$T/foreign" "$T/now"
echo '{"volumes":{"late":null}}' >>"$M/nodes/node01/spec"
echo wipe >"$M/nodes/node01/state"
settles node01 down "wipe"
is "no file of a disk is left, of a volume that left the spec neither" "$(find "$S" -name '*.qcow2')" ""
