#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A tar of the user's is put on a disk, and at every stage something dies: the
# switch, the daemon, the machine, all at once.  It goes on or starts over, and
# what is not whole is never booted.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for program in apt-get mmdebstrap zstd; do
	command -v $program >/dev/null || skip "$program is not here"
done
start_cluster
cd "$T" || exit 1
node=$M/nodes/node01

# --- the tar -------------------------------------------------------------------------

timeout 600 "$ROOT/backend/rootfs/build-rootfs.sh" "$RACKFS_BUILD/cache" \
	>built 2>&1
tar=$(sed -n 's/^image \(.*\) [0-9a-f]*$/\1\/rootfs.tar/p' built)
t "there is a root file system" test -s "$tar" || note <built
zstd -q -1 -T0 "$tar" -o system.tar.zst || exit 1
tar -xf "$tar" ./usr/bin ./usr/sbin 2>/dev/null
(cd usr && find bin sbin -type f -exec sha256sum {} +) >sums
rm -r usr
# What takes a while to send.
head -c 32M /dev/urandom >big

mkdir "$M/images/system" "$node"
echo "{\"kind\":\"rootfs\",\"source\":\"system.tar.zst\",
	\"sha256\":\"$(sha256sum <system.tar.zst | cut -c1-64)\"}" \
	>"$M/images/system/spec"
cat >"$node/spec" <<-'JSON'
	{"memory":"384M","disk":{"size":"96M","partitions":[
		{"size":"100%","filesystem":"ext4","mount":"/"}]},
	"install":{"image":"system"},
	"files":{"/opt/big":{"source":"big"},"/opt/word":{"content":"word\n"}}}
JSON

# --- what is seen of it ------------------------------------------------------------------

doing() { grep -qE "^install +running.*$1" "$node/progress"; }
copying() { doing '[1-9][0-9]?%.*copying: [0-9]+ of'; }
copied() { grep -c '^\$ copying' "$node/log"; }
# The run that is on boots the installer, and nothing says that a system is
# there.
half() { # half WHAT
	local pid
	pid=$(qemu_pid node01)
	unlike "$1: what runs is the installer" \
		"$(tr '\0' '\n' <"/proc/${pid:-none}/cmdline")" 'root=UUID'
	is "$1: no system counts as installed" "$(status node01 .installed)" null
	is "$1: nor will one after a restart" \
		"$(json "$S/nodes/node01/node.json" '.installed? // "none"')" none
}
# caught WHAT: while it is copied, and there it stays, however fast this host.
caught() {
	if until_true 120 copying && kill -STOP "$(qemu_pid node01)"; then
		ok "$1"
	else
		not_ok "$1"
		note <"$node/progress"
		exit 1
	fi
}
# Another machine than the one that was killed.
killed_qemu() {
	machine=$(qemu_pid node01)
	kill -KILL "$machine"
	until_true 20 gone "$machine"
}
another() {
	local now
	now=$(qemu_pid node01)
	[ -n "$now" ] && [ "$now" != "$machine" ]
}
# The keeper puts another daemon in its place; the mount lives on.
killed_daemon() {
	local pid
	pid=$(cat "$R/daemon.pid")
	kill -KILL "$pid"
	until_true 60 gone "$pid"
	until_true 60 usable
	is "$1: the machine lives on" "$(qemu_pid node01)" "$machine"
}

# --- no room -------------------------------------------------------------------------------

echo up >"$node/state"
fails "a disk that is too small" settle node01
like "... says what is needed and what there is" "$(cat "$node/error")" \
	'^failed: install: the image needs [0-9]+M at least, the disk has [0-9]+M free: make disk.size or the partition larger'
half "too small"
machine=$(qemu_pid node01)
echo '{"disk":{"size":"1G"}}' >>"$node/spec"

# --- copying ---------------------------------------------------------------------------------

caught "a larger one is copied to"
is "in the same machine" "$(qemu_pid node01)" "$machine"
switch=$(pids_of vde_switch)
kill -KILL "$switch"
new_switch() { [ -n "$(pids_of vde_switch)" ] &&
	[ "$(pids_of vde_switch)" != "$switch" ]; }
eventually "the switch dies: there is another" 30 new_switch
t "and the copying goes on" copying
is "as if nothing had been" "$(cat "$node/state")" installing
killed_qemu
eventually "the machine dies while it is copied: another comes" 60 another
half "the machine dies while it is copied"
caught "it is copied anew"

kill_daemon
killed_qemu
again
eventually "all die while it is copied: a machine comes" 60 another
half "all die while it is copied"
caught "and once more"

machine=$(qemu_pid node01)
before=$(copied)
killed_daemon "the daemon dies while it is copied"
kill -CONT "$machine"
half "the daemon dies while it is copied"

# --- configuring, and the mark that it is whole -----------------------------------------------

# The seal waits at its first sync(1): before the mark.
# shellcheck disable=SC2016 # for the guest's shell
on node01 'at=$(command -v sync); : >/run/gate
	{
		echo "#!/bin/sh"
		echo "grep -q installed.new /proc/\$PPID/cmdline && while [ -e /run/gate ]"
		echo "do : >/run/sealing; sleep 0.1; done"
		echo "exec busybox sync"
	} >$at.new
	chmod +x $at.new && mv $at.new $at' || not_ok "the guest's gate"
configuring() { grep -q 'install.*configured before its first boot' "$M/plan"; }
eventually "it goes on, and is configured" 120 configuring
is "what was copied without a daemon is not copied again" "$(copied)" "$before"
killed_daemon "the daemon dies while it is configured"
half "the daemon dies while it is configured"
eventually "it is about to be sealed" 120 on node01 test -e /run/sealing
is "all was copied, nothing is sealed" \
	"$(on node01 'cd /mnt/var/lib/rackfs && ls -d copied installed' 2>/dev/null)" \
	copied
killed_daemon "the daemon dies before the mark"
half "the daemon dies before the mark"
killed_qemu
eventually "the machine dies before the mark: another comes" 60 another
half "the machine dies before the mark"

# --- its own disk -------------------------------------------------------------------------------

from_disk() { [ "$(status node01 .from_disk)" = true ]; }
eventually "what was copied is kept, and boots" 120 from_disk
is "it was not copied again" "$(copied)" "$before"
like "the disk is what boots" \
	"$(tr '\0' '\n' <"/proc/$(qemu_pid node01)/cmdline")" 'root=UUID'
machine=$(qemu_pid node01)
killed_daemon "the daemon dies while the disk boots"
killed_qemu
settles node01 up "the machine dies while the disk boots: it boots again"
t "from its disk" from_disk
is "one installation became whole" \
	"$(grep -c '"to":"installed"' "$M/events")" 1
is "it is this node" "$(on node01 'cat /etc/hostname /opt/word')" "node01
word"
is "what was sent is whole" "$(on node01 'sha256sum </opt/big')" \
	"$(sha256sum <big)"
is "and so is the system" \
	"$(ssh -F "$M/ssh_config" node01 'cd /usr && sha256sum -c --quiet' <sums 2>&1)" ""
is "nothing is left to do" "$(cat "$M/plan")" ""
is "one machine, one switch" \
	"$(count "$(pids_of qemu-system)") $(count "$(pids_of vde_switch)")" "1 1"

# --- checks and units that go wrong in it -----------------------------------------------------

# shellcheck disable=SC2028 # escapes of JSON
echo '{"services":{"slow":{"unit":"[Service]\nExecStart=/bin/sleep 2000\n",
	"check":"exec:exec sleep 1000"}}}' >>"$node/spec"
settles node01 up "a service whose check never ends, and need not"
eventually "it is told" 60 grep -qE '^node01\.slow .*no end within 10 s' "$M/checks"
eventually "and tried again" 30 on node01 "pgrep -xf 'sleep 1000'"
is "one at a time" "$(on node01 "pgrep -cxf 'sleep 1000'")" 1
# shellcheck disable=SC2028
echo '{"services":{"slow":null,"bad":{"unit":
	"[Service]\nType=oneshot\nExecStart=/bin/sh -c \u0027echo broken-thing >&2; exit 3\u0027\n"}}}' \
	>>"$node/spec"
fails "a unit that fails" settle node01
like "... error has the end of its journal" "$(cat "$node/error")" \
	'^failed: services: .*bad.*broken-thing'
echo '{"services":{"bad":null}}' >>"$node/spec"
settles node01 up "without it the node is up"
[ $bad = 0 ]
