#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Three machines from the example: what a user does with them, and what may
# happen to them.  One boot serves many checks.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
share_image
# shellcheck disable=SC2119
start_daemon
cp -r "$ROOT/examples/three-nodes" "$T/example"
for i in 1 2 3; do
	port[i]=220$i
	taken 220$i || continue
	echo "skip node0$i's default port: somebody has 220$i"
	port[i]=$(free_port)
	jq ".ssh.port = ${port[i]}" "$ROOT/examples/three-nodes/node0$i.spec" \
		>"$T/example/node0$i.spec"
done

# --- up -----------------------------------------------------------------------------

timeout 700 "$T/example/up.sh" "$M" >"$T/up" 2>&1
if [ "$(cat "$T/up")" = up ]; then
	ok "the example's script ends with up"
else
	not_ok "the example's script: $(cat "$T/up")"
	LIMIT=1 settles all up "three nodes up" || exit 1
fi
cd "$M" || exit 1
plugged() { [ "$(grep -c 'node0[123]' networks/lan/ports)" -eq 3 ]; }
t "the first read of ports shows what is plugged" plugged
is "one QEMU a node" "$(count "$(pids_of qemu-system)")" 3
is "one switch" "$(count "$(pids_of vde_switch)")" 1
for i in 1 2 3; do
	is "node0$i answers by name" "$(on node0$i hostname)" node0$i
	like "on its port" "$(ssh -G -F ssh_config node0$i)" "^port ${port[i]}\$"
	is "with its address" "$(on node0$i "ip -4 -o addr show |
		grep -c '10\.36\.0\.1$i/24'")" 1
done
like "the host key is known before" "$(ssh -G -F ssh_config node01)" \
	'^stricthostkeychecking (yes|true)$'
t "ping by name" on node01 ping -c 3 node03
t "and by its full name" on node01 ping -c 1 node02.cluster.internal
has_line() { on node01 grep -q ' node04$' /etc/hosts; }
has_none() { ! has_line; }
mkdir nodes/node04
eventually "the line of a new node is pushed to those that run" 60 has_line
is "and they stay up" "$(cat nodes/node01/state)" up
rmdir nodes/node04
eventually "and taken away with it" 60 has_none
eventually "reach shows six pairs without loss" 60 pairs 6 0
for i in 1 2 3; do
	mac=$(on node0$i "cat /sys/class/net/*/address | grep -v 00:00:00:00 |
		grep -v 52:54:00:00:00:fe")
	like "with node0$i's MAC" "$(cat networks/lan/ports)" \
		"node0$i.*$mac"
done
is "the network is up" "$(cat networks/lan/state)" up
is "the image is ready" "$(cat images/netboot/state)" ready
like "the console has the boot log" "$(cat nodes/node01/console)" \
	'rackfs: ssh ready'
like "the log has the command line" "$(cat nodes/node01/log)" \
	'qemu-system-x86_64.*-netdev'
unlike "and no secret" "$(cat nodes/*/log events)" 'BEGIN OPENSSH'
like "status.json tells the accelerator" \
	"$(status node01 '.. | .accel? // empty')" '^(kvm|tcg)$'

# --- disks --------------------------------------------------------------------------

for node in node01 node02 node03; do
	on $node "sfdisk -J /dev/vda" >"$T/table"
	is "$node: a GPT" "$(json "$T/table" .partitiontable.label)" gpt
	is "$node: the first from 1 MB to 512 MB" "$(json "$T/table" \
		'.partitiontable.partitions[0] | [.start, .start + .size] |
		map(. * 512 / 1048576) | tostring')" '[1,512]'
	is "$node: is an ESP" "$(json "$T/table" \
		.partitiontable.partitions[0].type)" \
		C12A7328-F81F-11D2-BA4B-00A0C93EC93B
	is "$node: the second from 512 MB" "$(json "$T/table" \
		'.partitiontable.partitions[1].start * 512 / 1048576')" 512
	# shellcheck disable=SC2016 # jq's variable
	is "$node: to the end, but the backup table" "$(json "$T/table" \
		'.partitiontable | .partitions[1] as $p |
		(.lastlba - ($p.start + $p.size - 1)) < 2048')" true
	out=$(on $node "blkid -p -o export /dev/vda1")
	like "$node: FAT32" "$out" '^VERSION=FAT32'
	like "$node: labelled boot" "$out" '^LABEL=(boot|BOOT)$'
	out=$(on $node "blkid -p -o export /dev/vda2")
	like "$node: ext4" "$out" '^TYPE=ext4'
	like "$node: labelled root" "$out" '^LABEL=root$'
	out=$(on $node "cat /proc/mounts")
	like "$node: root at /mnt" "$out" '^/dev/vda2 /mnt ext4 rw'
	like "$node: ESP at /mnt/boot" "$out" '^/dev/vda1 /mnt/boot vfat rw'
done
is "no disk has another's uuid" "$(for n in node01 node02 node03; do
	on $n "sfdisk --disk-id /dev/vda; blkid -p -s UUID -o value /dev/vda2"
done | sort | uniq -d)" ""
on node02 "echo kept >/mnt/file; sync"

# --- links, live --------------------------------------------------------------------

launch=$(status node01 .machine.launch)
carrier="cat /sys/class/net/*/carrier 2>/dev/null | grep -c 0"
echo '{"nics":{"lan":{"link":"down"}}}' >>nodes/node01/spec
eventually "a link goes down in the guest" 30 sh -c \
	"[ \"\$(ssh -n -F ssh_config node01 '$carrier')\" = 1 ]"
eventually "reach shows four pairs lost" 90 pairs 4 100
fails "no ping gets through" on node02 ping -c 1 -W 2 node01
settles node01 up "the node is up all the same"
echo '{"nics":{"lan":{"link":"up"}}}' >>nodes/node01/spec
eventually "and up again" 30 sh -c \
	"[ \"\$(ssh -n -F ssh_config node01 '$carrier')\" = 0 ]"
eventually "reach is whole again" 90 pairs 6 0
is "without a restart" "$(status node01 .machine.launch)" "$launch"
echo '{"memory":"640M"}' >>nodes/node01/spec
is "memory is for the next start" "$(status node01 '.restart_required | tostring')" \
	'["memory"]'

# --- more disk, live ------------------------------------------------------------------

blocks=$(on node01 "df -k /mnt | awk 'NR == 2 { print \$2 }'")
echo '{"size":"5G"}' >>nodes/node01/disk
settles node01 up "more disk"
is "the guest's disk has grown" "$(on node01 cat /sys/block/vda/size)" \
	$((5 * 1024 * 1024 * 2))
more=$(on node01 "df -k /mnt | awk 'NR == 2 { print \$2 }'")
is "and its last file system" "$((more > blocks + 900000))" 1
is "without a restart" "$(status node01 .machine.launch)" "$launch"
refused "a disk never shrinks" EINVAL append nodes/node01/disk <<<'{"size":"3G"}'

# --- another layout, wipe ---------------------------------------------------------------

echo '{"partitions":[{"name":"all","size":"100%","filesystem":"ext4",
	"label":"all","mount":"/"}]}' >>nodes/node02/disk
settles node02 up "another layout leaves the node up"
like "wipe_required names it" "$(status node02 '.wipe_required | tostring')" \
	'disk\.partitions'
is "nothing is lost" "$(on node02 cat /mnt/file)" kept
refused "wipe wants the node down" EBUSY put nodes/node02/state <<<wipe

# --- down, up, reboot -------------------------------------------------------------------

boot_id() { on "$1" cat /proc/sys/kernel/random/boot_id; }
echo down >nodes/node02/state
settles node02 down "down"
is "its QEMU is gone" "$(qemu_pid node02)" ""
refused "its disk holds data" ENOTEMPTY rmdir nodes/node02
echo up >nodes/node02/state
settles node02 up "up again with the old layout"
is "what was on its disk is there" "$(on node02 cat /mnt/file)" kept
echo down >nodes/node02/state
settles node02 down "down for the wipe"
echo wipe >nodes/node02/state
settles node02 down "wipe"
echo up >nodes/node02/state
settles node02 up "up with the new layout"
like "which is there" "$(on node02 cat /proc/mounts)" '^/dev/vda1 /mnt ext4'
fails "and nothing else" on node02 test -e /mnt/file

before=$(boot_id node01)
echo reboot >nodes/node01/state
settles node01 up "reboot"
is "is another boot" "$([ "$(boot_id node01)" != "$before" ]; echo $?)" 0
memory=$(on node01 "awk '/MemTotal/ { print \$2 }' /proc/meminfo")
is "with the memory of the spec" "$((memory > 550000))" 1
is "nothing more is required" "$(status node01 '.restart_required | tostring')" "[]"

# --- what guests do ---------------------------------------------------------------------

on node02 poweroff >/dev/null 2>&1
eventually "a guest that powers itself off is down" 60 reads nodes/node02/state down
settles node02 down "and settled"
is "and is wanted down" "$(status node02 .power)" down
echo '{"run":{"no":{"command":["false"]}}}' >>nodes/node02/spec
echo up >nodes/node02/state
refused "a node whose command fails" EIO read wait/node02
on node02 poweroff >/dev/null 2>&1
wanted_down() { [ "$(status node02 .power)" = down ]; }
eventually "is wanted down as well when its guest powers off" 60 wanted_down
is "and has failed all the same" "$(cat nodes/node02/state)" failed
echo '{"run":null}' >>nodes/node02/spec
settles node02 down "until its spec is mended"
echo up >nodes/node02/state
before=$(boot_id node03)
on node03 reboot >/dev/null 2>&1
booted_again() { [ "$(boot_id node03)" != "$before" ]; }
eventually "a guest that reboots is started again" $LIMIT booted_again
settles all up "and all come up"

# --- what is killed -----------------------------------------------------------------------

# Host lines change all the while: that keeps no node from its way up.
come_and_go() {
	until [ -e "$T/enough" ] || [ ! -d nodes ]; do
		mkdir nodes/node04
		read -rt 0.2 <>"$T/never"
		rmdir nodes/node04
	done
}
come_and_go </dev/null >/dev/null 2>&1 &
others=$!
pid=$(qemu_pid node03)
kill -KILL "$pid"
until_true 20 gone "$pid"
other_pid() { [ -n "$(qemu_pid "$1")" ] && [ "$(qemu_pid "$1")" != "$2" ]; }
eventually "a killed QEMU is started again" $LIMIT other_pid node03 "$pid"
settles node03 up "and its node comes up, while others come and go"
touch "$T/enough"
wait $others
eventually "the line of one that went is gone" 60 has_none
like "as the events tell" "$(grep node03 events | tail -n 20)" 'node03.*(signal 9|killed|crash)'
eventually "reach is whole again" 90 pairs 6 0

changes="cat /sys/class/net/*/carrier_changes"
changed=$(on node01 "$changes")
before=$(boot_id node01)
# They are in the middle of sending when it dies.
for pair in node01:node02 node02:node03 node03:node01; do
	on ${pair%:*} "ping -i 0.01 -c 500 ${pair#*:} >/tmp/pings 2>&1 &"
done
sending() { on node03 grep -q "seq=20 " /tmp/pings; }
eventually "all of them send" 30 sending
pid=$(pids_of vde_switch)
kill -KILL "$pid"
until_true 20 gone "$pid"
replaced() { [ -n "$(pids_of vde_switch)" ] && [ "$(pids_of vde_switch)" != "$pid" ]; }
eventually "a killed vde_switch comes back" 60 replaced
eventually "nodes reach each other again" 60 on node01 ping -c 1 -W 2 node02
eventually "each of them" 60 on node03 ping -c 1 -W 2 node01
is "and their NICs saw nothing" "$(on node01 "$changes")" "$changed"
is "nor did they boot" "$(boot_id node01)" "$before"
eventually "all are plugged in again" 20 plugged

# --- the daemon is killed -----------------------------------------------------------------

before=$(machine_pids | sort)
cd "$T" || exit 1
kill_daemon
t "machines run on without a daemon" [ "$(machine_pids | sort)" = "$before" ]
again
cd "$M" || exit 1
settles all up "after kill -9 the next daemon sees all up"
is "it has adopted them: the same processes" "$(machine_pids | sort)" "$before"
t "ssh works as before" on node02 true
like "the console is there" "$(cat nodes/node01/console)" 'rackfs: ssh ready'
stop_daemon
is "a stop leaves machines running" "$(machine_pids | sort)" "$before"
cd "$T" && again && cd "$M" || exit 1
settles all up "and the next start adopts them too"

# --- a disk of somebody else ---------------------------------------------------------------

echo down >state
settles all down "all down"
is "no machine is left" "$(pids_of qemu-system)" ""
nothing_runs() { ! machines_run; }
eventually "no switch either" 30 nothing_runs
disk=$(status node03 '.disk.path? // empty')
[ -n "$disk" ] || disk=$(find "$S" -path '*node03*' -name 'disk*' -type f -size +100k)
truncate -s 4G "$T/foreign"
mkfs.ext4 -q -F -L somebody "$T/foreign"
qemu-img convert -O qcow2 "$T/foreign" "$disk"
sum=$(sha256sum <"$disk")
echo up >nodes/node03/state
refused "a foreign disk fails" EIO read wait/node03
is "so the state says" "$(cat nodes/node03/state)" failed
like "with what was found, and the word" "$(cat nodes/node03/error)" \
	'^failed: partition: .*ext4.*wipe'
echo off >nodes/node03/state
settles node03 down "off"
is "not a byte of it was touched" "$(sha256sum <"$disk")" "$sum"
echo wipe >nodes/node03/state
settles node03 down "wipe, knowingly"
echo up >nodes/node03/state
settles node03 up "and it is laid out"
echo off >state
settles all down "all off"
