#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A distribution's cloud image through the tree: raw by BIOS, qcow2 with a
# checksum by UEFI, side by side.  cloud-init takes name, keys, addresses and
# host key from the NoCloud disk, so that both are `up` without a question.
# What can't be installed is told meanwhile.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for program in apt-get mmdebstrap unshare mke2fs; do
	command -v $program >/dev/null || skip "$program is not here"
done
[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || skip "ovmf is not installed"

mkdir -p "$RACKFS_BUILD/cache"
timeout 600 "$ROOT/tests/vm/build-cloud" "$RACKFS_BUILD/cache" >"$T/built" \
	2>"$T/err" || { not_ok "a cloud image is built"; note <"$T/err"; exit 1; }
raw=$(tail -n 1 "$T/built")
qemu-img convert -O qcow2 "$raw" "$T/cloud.qcow2"
sum=$(sha256sum <"$T/cloud.qcow2" | cut -c1-64)

# shellcheck disable=SC2119
start_daemon
cd "$M" || exit 1
image() { # image NAME SPEC
	mkdir -p "images/$1"
	echo "$2" >"images/$1/spec"
}
image cloud "{\"kind\":\"disk\",\"source\":\"$raw\"}"
image cloud2 "{\"kind\":\"disk\",\"source\":\"$T/cloud.qcow2\",\"sha256\":\"$sum\"}"
mkdir nodes/node01 nodes/node02
# shellcheck disable=SC2028 # an escape of JSON
echo "{\"memory\":\"768M\",\"ssh\":{\"port\":$(free_port)},
	\"disk\":{\"size\":\"2G\",\"format\":\"raw\"},
	\"install\":{\"image\":\"cloud\",\"cloud_init\":true},
	\"nics\":{\"lan\":{},\"no\":{\"network\":\"lan\",\"address\":null,
	\"link\":\"down\"}}}" >nodes/node01/spec
# shellcheck disable=SC2028
echo "{\"memory\":\"768M\",\"ssh\":{\"port\":$(free_port)},
	\"boot\":{\"firmware\":\"uefi\"},\"disk\":{\"size\":\"3G\"},
	\"install\":{\"image\":\"cloud2\",\"cloud_init\":true},
	\"files\":{\"/etc/motd\":{\"content\":\"hello\\n\"}}}" >nodes/node02/spec
echo up >state

# --- meanwhile: what can't be installed --------------------------------------------

mkdir nodes/node09
truncate -s 64M "$T/small.raw"
echo bootable | dd of="$T/small.raw" conv=notrunc status=none
cannot() { # cannot WHAT IMAGE-SPEC DISK-SIZE REGEX
	image bad "$2"
	echo "{\"ssh\":{\"port\":$(free_port)},\"disk\":{\"size\":\"$3\"},
		\"install\":{\"image\":\"bad\"}}" >nodes/node09/spec
	echo up >nodes/node09/state
	refused "$1" EIO read wait/node09
	like "$1: the sentence" "$(cat nodes/node09/error)" "$4"
	echo off >nodes/node09/state
	settle node09 >/dev/null
}
cannot "a source that does not exist" \
	"{\"kind\":\"disk\",\"source\":\"$T/none.raw\"}" 1G \
	"^failed: image: .*there is no $T/none.raw"
cannot "a wrong checksum" \
	"{\"kind\":\"disk\",\"source\":\"$T/small.raw\",\"sha256\":\"$sum\"}" 1G \
	"^failed: image: .*sha256"
cannot "an image that is larger than the disk" \
	"{\"kind\":\"disk\",\"source\":\"$T/small.raw\"}" 32M \
	"^failed: install: the image is a disk of 64M, and disk.size is 32M"
head -c 100000 "$T/cloud.qcow2" >"$T/short.qcow2"
cannot "an image that was cut off" \
	"{\"kind\":\"disk\",\"source\":\"$T/short.qcow2\"}" 4G \
	"^failed: image: .*short.qcow2"
t "no disk was made for it" rmdir nodes/node09

# --- up -----------------------------------------------------------------------------

for node in node01 node02; do
	LIMIT=400 settles $node up "$node is up from a cloud image" || exit 1
	took $node
	# Whoever waits for cloud-init itself asks cloud-init.
	# shellcheck disable=SC2016 # the guest's shell expands
	out=$(on $node 'cloud-init status --wait >/dev/null
		hostname; hostname -f; stat -f -c "root is %T" /
		df -k --output=size / | tail -n 1; ip -4 -o addr
		awk 1 /etc/ssh/ssh_host_*_key.pub; awk 1 /run/cloud-init/result.json
		echo "$(grep -c WARNING /var/log/cloud-init.log) warnings"
		[ ! -d /sys/firmware/efi ] || echo UEFI; cat /etc/motd')
	like "$node: its name" "$out" "^$node\$"
	like "$node: and its domain" "$out" "^$node.cluster.internal\$"
	like "$node: its address" "$out" " 10.36.0.1${node#node0}/24 "
	like "$node: NoCloud was the source" "$out" '"DataSourceNoCloud'
	like "$node: without errors" "$out" '"errors": \[\]'
	like "$node: or warnings" "$out" '^0 warnings'
	is "$node: its only host key is the pinned one" \
		"$(grep ^ssh- <<<"$out" | cut -d' ' -f2)" \
		"$(grep "^$node" known_hosts | cut -d' ' -f3 | head -n 1)"
	case $node in
	node01) size=1900000 ;;
	node02)
		size=2900000
		like "$node: it was booted by UEFI" "$out" '^UEFI$'
		like "$node: and has the file of its spec" "$out" '^hello$'
		;;
	esac
	t "$node: its file system fills the disk" \
		test "$(grep -xE ' *[0-9]+' <<<"$out")" -gt "$size"
done

# --- the next boot ---------------------------------------------------------------------

# What cloud-init was told it knows; the machine is another run of the same.
echo off >nodes/node01/state
settles node01 down "off"
on node02 'touch /root/kept; sync'
echo reboot >nodes/node02/state
LIMIT=300 settles node02 up "node02 is up again"
t "from the same disk" on node02 test -e /root/kept
echo '{"install":{"image":"cloud"}}' >>nodes/node02/spec
settles node02 up "another image is not acted on"
is "wipe_required says so" "$(status node02 '.wipe_required | tostring')" \
	'["install.image"]'
t "the disk of the other holds data now" test "$(call rmdir nodes/node01)" = ENOTEMPTY
