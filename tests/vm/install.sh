#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The install drivers against a netboot guest with a laid-out disk: a small
# root file system from a read-only disk and over SSH, cut off and begun again,
# what is refused, a closure, and a boot of the result by UEFI.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
busybox=$(command -v busybox) || skip "busybox is not here"
firmware=/usr/share/ovmf/OVMF.fd

# --- what is installed ---------------------------------------------------------

# busybox with the libraries that it needs.
put_busybox() { # put_busybox ROOT FILE
	local lib
	install -D -m 755 "$busybox" "$1$2"
	for lib in $(ldd "$busybox" 2>/dev/null | grep -o '/[^ ]*'); do
		install -D "$lib" "$1$lib"
	done
}

# A system that says so and powers off; /lib is a link, as in Debian.
make_rootfs() {
	local r=$T/rootfs
	mkdir -p "$r"/{usr/bin,usr/lib,usr/lib64,etc,proc,sys,dev,run,var/lib,tmp,boot}
	ln -s usr/bin "$r/bin"
	ln -s usr/lib "$r/lib"
	ln -s usr/lib64 "$r/lib64"
	ln -s /proc/mounts "$r/etc/mtab"
	put_busybox "$r" /usr/bin/busybox
	ln "$r/usr/bin/busybox" "$r/usr/bin/sh"
	cat >"$r/usr/bin/init" <<-'X'
		#!/bin/busybox sh
		echo "the disk has booted, $(/bin/busybox ls /lib/modules | /bin/busybox wc -l) kernel" >/dev/console
		/bin/busybox poweroff -f
	X
	chmod 4755 "$r/usr/bin/init"
	echo "in the way of the ESP" >"$r/boot/file"
	head -c 24M /dev/urandom >"$r/usr/lib/data"
	tar -C "$r" --owner=0 --group=0 --numeric-owner -cf "$T/rootfs.tar" .
}
make_rootfs
# Nothing but zeros: little on its way, too much for the disk.
mkdir "$T/big"
truncate -s 400M "$T/big/zeros"
tar -C "$T/big" -cf "$T/big.tar" .
head -c 15M "$T/rootfs.tar" >"$T/short.tar"

# As a toplevel of NixOS is laid out.
top=/nix/store/00000000000000000000000000000000-nixos-system-toy
part=/nix/store/11111111111111111111111111111111-busybox
make_closure() {
	local c=$T/closure
	mkdir -p "$c$top/bin" "$c$part/bin"
	put_busybox "$c" "$part/bin/busybox"
	ln -s "$part/bin/busybox" "$c$top/init"
	cat >"$c$top/bin/switch-to-configuration" <<-X
		#!$part/bin/busybox sh
		$part/bin/busybox mkdir -p /etc
		echo "\$1 \$NIXOS_INSTALL_BOOTLOADER" >/etc/switched
	X
	chmod 755 "$c$top/bin/switch-to-configuration"
	tar -C "$c" -cf "$T/closure.tar" .
	# What nix-store --dump-db prints.
	printf '%s\n' "$top" "$(printf 0%.0s {1..64})" 4096 "" 1 "$part" \
		"$part" "$(printf 0%.0s {1..64})" 4096 "$part.drv" 0 \
		>"$T/registration"
	sed "s/1111-busybox/2222-gone/" "$T/registration" >"$T/registration.bad"
}
make_closure

# --- the guest --------------------------------------------------------------------

start_cluster
mkdir "$M/nodes/node01"
jq -n --arg file "$T/rootfs.tar" '{
	disk: {size: "300M", partitions: [
		{name: "ESP", size: "64M", filesystem: "vfat", label: "boot",
			mount: "/boot", flags: ["esp"]},
		{name: "root", size: "100%", filesystem: "ext4", label: "root",
			mount: "/"}]},
	qemu: {args: ["-drive",
		"if=none,id=payload,format=raw,readonly=on,file=" + $file,
		"-device", "virtio-blk-pci,drive=payload,serial=payload"]}}' \
	>"$M/nodes/node01/spec"
echo up >"$M/nodes/node01/state"
settles node01 up "a guest with a disk" || exit 1
disk=$(find "$S" -path '*node01*' -name 'disk*' -size +100k -type f)
image=$(dirname "$(tr '\0' '\n' <"/proc/$(qemu_pid node01)/cmdline" |
	grep '/netboot-.*/kernel$')")
t "its image has what boots a disk" test -s "$image/disk-initrd"

key=$(ssh -nTG -F "$M/ssh_config" node01 |
	awk '$1 == "identityfile" { print $2; exit }')
port=$(ssh -nTG -F "$M/ssh_config" node01 |
	awk '$1 == "port" { print $2 }')
host_key=$(cut -d' ' -f2-3 "$M/known_hosts" | head -n 1)
# try KEY=VALUE...: its output is in $T/out, one "ok" or "not ok" by the last
# word of its state.
try() {
	timeout 200 "$RACKFS_BUILD/tests/try_install" "port=$port" "key=$key" \
		"host_key=$host_key" "$@" >"$T/out" 2>&1
}
works() { # works WHAT KEY=VALUE...
	local what=$1
	shift
	if try "$@"; then
		ok "$what ($(awk '/: done/ { s = $1 } END { print s }' "$T/out") s)"
	else
		not_ok "$what"
		note <"$T/out"
	fi
}
error() { # error WHAT REGEX KEY=VALUE...
	local what=$1 regex=$2
	shift 2
	if try "$@"; then
		not_ok "$what: it was accepted"
	else
		like "$what" "$(grep ^error "$T/out")" "^error $regex"
	fi
}
boot=("kernel=$image/kernel" "initrd=$image/disk-initrd" uefi=1 esp=/boot
	"modules=$image/modules.tar"
	"cmdline=root=LABEL=root ro init=/usr/bin/init console=ttyS0 panic=-1")
tree=("source=$T/rootfs.tar" "${boot[@]}")

# --- what is refused ------------------------------------------------------------------

error "UEFI without an ESP" "EINVAL: boot.firmware uefi needs an EFI system" \
	do=ensure "${tree[@]/esp=*/x=}"
error "an ESP that is not mounted" "EINVAL: no vfat file system is mounted at" \
	do=ensure "${tree[@]/esp=*/esp=/efi}"
error "a disk that is not mounted" "ENODEV: nothing is mounted at /nowhere" \
	do=ensure root=/nowhere "source=$T/rootfs.tar"
error "a source that is gone" "ENOENT: $T/none" do=ensure "source=$T/none"
error "an image that is too large" "ENOSPC: the image needs 401M at least" \
	do=ensure "source=$T/big.tar"
on node01 "mkdir /mnt/home; echo mine >/mnt/home/file"
error "a disk with somebody's files" \
	"EEXIST: the disk holds files .*/mnt/home/file.*wipe" do=ensure "${tree[@]}"
is "they are still there" "$(on node01 "cat /mnt/home/file")" mine
on node01 "rm -r /mnt/home"

# --- over SSH, cut off first -------------------------------------------------------------

error "a tar that was cut off" "EIO: copying: .*tar" \
	do=ensure "source=$T/short.tar"
error "no room after all" "ENOSPC: no room: .*No space left on device" \
	do=ensure "source=$T/big.tar"
error "cancelled in the middle" "ECANCELED" do=ensure cancel=10 "${tree[@]}"
like "nothing counts as copied" "$(cat "$T/out")" '^copied $'
error "what is not whole is not sealed" "EIO: .*not whole" do=seal "${tree[@]}"
works "it is installed over SSH" do=ensure "${tree[@]}"
like "with progress in percent and megabytes" "$(cat "$T/out")" \
	'[0-9]% copying: [0-9]+ of 2[0-9] MB'
sum=$(sha256sum <"$T/rootfs/usr/lib/data")
whole() {
	local out
	out=$(on node01 "sha256sum </mnt/usr/lib/data
		ls -A /mnt; stat -c '%a %u' /mnt/usr/bin/init; readlink /mnt/etc/mtab
		ls /mnt/usr/lib/modules; cat /mnt/var/lib/rackfs/installed
		[ /mnt/usr/bin/sh -ef /mnt/usr/bin/busybox ] && echo linked")
	like "$1: the bytes are there" "$out" "^${sum%% *}"
	unlike "$1: nothing of the tries before" "$out" '^zeros$'
	like "$1: modes are kept" "$out" '^4755 0$'
	like "$1: absolute links are kept" "$out" '^/proc/mounts$'
	like "$1: hard links are kept" "$out" '^linked$'
	like "$1: modules are where /lib leads to" "$out" '^[0-9]+\.[0-9]+.*amd64'
	out=$(on node01 "cd /mnt/boot && find . -type f | sort
		cat loader/entries/rackfs.conf; wc -c <rackfs/kernel")
	like "$1: a boot loader is on the ESP" "$out" '^\./EFI/BOOT/BOOTX64\.EFI$'
	like "$1: with an entry" "$out" '^options root=LABEL=root ro init='
	like "$1: and the kernel" "$out" "^$(stat -c %s "$image/kernel")\$"
	unlike "$1: and nothing of the image's" "$out" '^\./file$'
}
whole "over SSH"
works "a second time" do=ensure "${tree[@]}"
unlike "does nothing" "$(cat "$T/out")" 'copying|boot entry|mark'
works "another command line" do=ensure "${tree[@]/cmdline=/cmdline=quiet }"
unlike "copies nothing" "$(cat "$T/out")" copying
like "writes the entry" "$(cat "$T/out")" 'boot entry: loader/entries'

# --- from a disk ---------------------------------------------------------------------------

error "a disk that isn't there" "EIO: .*no disk has the serial other" \
	do=ensure digest=b payload=other "${tree[@]}"
works "it is installed from a disk" do=ensure,seal payload=payload "${tree[@]}"
like "with the same progress" "$(cat "$T/out")" 'copying: [0-9]+ of 2[0-9] MB'
whole "from a disk"
try do=observe
like "it is seen as installed" "$(cat "$T/out")" '^installed a{64}$'
error "another image over it" "EEXIST: another image \(aaaaaaaaaaaa\)" \
	do=ensure digest=b "${tree[@]}"

# --- it boots --------------------------------------------------------------------------------

# While the guest goes on it may write: what was sealed was synced.
boots() {
	local log=$T/boot.log
	cp --sparse=always "$disk" "$T/copy"
	timeout 240 qemu-system-x86_64 -M q35 -m 512 -bios $firmware -nodefaults \
		-display none -no-reboot -serial "file:$log" \
		-drive "if=virtio,format=qcow2,file=$T/copy" </dev/null \
		>/dev/null 2>&1
	like "the firmware boots the disk, with modules" "$(cat "$log")" \
		'the disk has booted, 1 kernel'
}
if [ -e $firmware ]; then
	boots
else
	echo "skip the boot by UEFI: ovmf is not installed"
fi

# --- a closure -----------------------------------------------------------------------------

on node01 "cd /mnt && rm -rf var usr etc lib lib64 bin dev proc run sys tmp"
system=("source=$T/closure.tar" kind=closure "init=$top/init")
error "a closure that isn't one" "EINVAL: init: \"/sbin/init\" is not" \
	do=ensure "${system[@]/init=*/init=/sbin/init}"
error "a closure with a path missing" "EIO: .*222-gone.* 1 of 2 paths" \
	do=ensure "${system[@]}" "registration=$T/registration.bad"
works "a closure is installed" do=ensure,seal "${system[@]}" \
	"registration=$T/registration"
out=$(on node01 "cd /mnt; readlink nix/var/nix/profiles/system
	readlink nix/var/nix/profiles/system-1-link; cat etc/switched
	ls etc/NIXOS; stat -c %a nix/store; grep ' /mnt/' /proc/mounts")
like "the profile leads to it" "$out" "^$top\$"
like "by its first generation" "$out" '^system-1-link$'
like "it was switched to" "$out" '^boot 1$'
like "it is marked as NixOS" "$out" '^etc/NIXOS$'
unlike "nothing but the ESP is left mounted" "$out" '/mnt/(dev|proc|sys|run|tmp)'
