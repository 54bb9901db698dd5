#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A root file system that boots by UEFI, through the tree: refused without an
# ESP, told when there is no firmware; cut off in the middle and begun again;
# booted, and booted again, by OVMF from the disk alone.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for program in apt-get mmdebstrap; do
	command -v $program >/dev/null || skip "$program is not here"
done
ovmf=/usr/share/OVMF
[ -e $ovmf/OVMF_CODE_4M.fd ] || skip "ovmf is not installed"
own_mounts

mkdir -p "$RACKFS_BUILD/cache"
rootfs=$(debian_rootfs)
[ -s "$rootfs" ] || { not_ok "no root file system"; note <"$T/err"; exit 1; }
start_cluster
cd "$M" || exit 1
mkdir images/debian nodes/node01
echo "{\"kind\":\"rootfs\",\"source\":\"$rootfs\"}" >images/debian/spec
jq -n --argjson port "$(free_port)" '{
	ssh: {port: $port}, boot: {firmware: "uefi"}, install: {image: "debian"},
	nics: {management: {network: "lan"}},
	disk: {size: "1G", partitions: [
		{name: "ESP", size: "64M", filesystem: "vfat", label: "boot",
			mount: "/boot", flags: ["esp"]},
		{name: "root", size: "100%", filesystem: "ext4", label: "root",
			mount: "/"}]}}' >"$T/spec"

# --- what is missing ------------------------------------------------------------------

spec_of() { jq "$1" "$T/spec"; } # spec_of FILTER
spec_of 'del(.disk.partitions[0])' >"$T/bad"
refused "no ESP" EINVAL write nodes/node01/spec <"$T/bad"
like "it is told" "$(cat nodes/node01/error)" \
	'^refused: spec: disk.partitions: .* asks for an EFI system partition'
spec_of 'del(.disk.partitions[0].mount)' >"$T/bad"
refused "an ESP that is mounted nowhere" EINVAL write nodes/node01/spec <"$T/bad"
cp "$T/spec" nodes/node01/spec

# As on a host without the package.
mkdir "$T/empty"
mount --bind "$T/empty" $ovmf
echo up >nodes/node01/state
refused "a host without OVMF" EIO read wait/node01
like "it is told" "$(cat nodes/node01/error)" \
	"^failed: machine: boot.firmware is \"uefi\".* $ovmf/.*apt-get install ovmf"
is "before anything is installed" "$(status node01 .installed)" null
umount $ovmf

# --- cut off, and begun again -----------------------------------------------------------

echo up >nodes/node01/state
copies() { grep -qE '^install +running .*copying: [1-9]' nodes/node01/progress; }
eventually "the system is copied" 200 copies
echo off >nodes/node01/state
settles node01 down "and cut off"
is "it does not count as installed" "$(status node01 .installed)" null
echo up >nodes/node01/state
LIMIT=400 settles node01 up "it is begun again, and up" || exit 1
took node01
look() { # what there is in the guest
	# shellcheck disable=SC2016 # the guest's shell expands
	on node01 '[ ! -d /sys/firmware/efi ] || echo UEFI
		stat -f -c "root is %T" /; hostname
		ip -4 -o addr | tr -s " " | cut -d" " -f3,4
		cd /boot && find . -type f | sort; cat loader/entries/rackfs.conf
		echo "line $(cat /proc/cmdline)"; cat /root/kept'
}
out=$(look 2>/dev/null)
like "it was booted by UEFI" "$out" '^UEFI$'
like "from its own disk" "$out" '^root is ext2/ext3$'
like "as what it is" "$out" '^node01$'
like "its NIC has its address, whatever its name" "$out" ' 10\.36\.0\.11/24$'
like "beside the one that rackfs comes by" "$out" ' 10\.0\.2\.15/24$'
like "by the loader on the removable path" "$out" '^\./EFI/BOOT/BOOTX64\.EFI$'
line=$(sed -n 's/^options //p' <<<"$out")
like "its entry names the disk" "$line" 'root=UUID='
like "and was taken" "$out" "^line .*${line%% *}.* $(grep -o 'root=UUID=[^ ]*' <<<"$line")"
unlike "nothing but rackfs started it" \
	"$(tr '\0' ' ' <"/proc/$(qemu_pid node01)/cmdline")" ' -kernel '
on node01 'echo kept >/root/kept; sync'

# --- again ---------------------------------------------------------------------------------

installs() { grep -c '"to":"installed"' events; }
is "one install" "$(installs)" 1
echo off >nodes/node01/state
settles node01 down "off"
echo up >nodes/node01/state
LIMIT=300 settles node01 up "up again"
took node01
like "from the same disk" "$(look 2>/dev/null)" '^kept$'
is "without another install" "$(installs)" 1
