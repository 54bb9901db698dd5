#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the netboot image, a kernel and an initrd, from Debian packages.
# backend/drivers/image_netboot.c runs it; people may as well.  Needs no root:
# packages come through apt-get download with the host's own sources, and are
# unpacked, never installed.  The same inputs give the same bytes.
#
#   build-image.sh [--check] CACHEDIR [PACKAGE...]
#
# Extra packages go in whole, with what they depend on.  The image has
#   kernel, initrd, manifest
#   disk-initrd             boots an installed system
#   modules.tar             of the kernel, for a system that has none
# What it prints, --check and the cache: backend/packages/builder.sh.

set -Eeuo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
script=build-image
kind=netboot
contents=(manifest kernel initrd disk-initrd modules.tar)
# shellcheck source=backend/packages/builder.sh
. "$here/../packages/builder.sh"

tools() {
	find_headers
	check_tools readelf binutils objcopy binutils gcc gcc cpio cpio zstd zstd \
		depmod kmod
}

# identity.h stands beside the script when installed.
find_headers() {
	local d
	for d in "$here" "$here/../../include"; do
		if [ -e "$d/identity.h" ]; then
			headers=$d
			return
		fi
	done
	die "identity.h is neither in $here nor in $here/../../include"
}

# --- which packages, in which versions -------------------------------------

# Writes $scratch/wanted: of all that was solved, the packages that go in:
# those of the table, the kernel, libraries; and the extra ones.
resolve() {
	local names
	mapfile -t names < <(table "$here/packages" | awk '{ print $1 }')
	solve "${names[@]}" >"$scratch/solved"
	awk -v names="${names[*]}" '
		BEGIN { n = split(names, a, " ");
			for (i = 1; i <= n; i++) want[a[i]] = 1 }
		want[$1] || $1 ~ /^(lib|zlib1g)/ ||
		$1 ~ /^linux-(image|modules|binary)-[0-9]/ { print }' \
		"$scratch/solved" >"$scratch/base"
	: >"$scratch/extra"
	if [ $# -gt 0 ]; then
		solve "$@" >"$scratch/solved"
		grep -vE '^(dpkg|debconf|adduser|libc-bin|init-system-helpers) ' \
			"$scratch/solved" >"$scratch/extra" || :
	fi
	sort -u "$scratch/base" "$scratch/extra" >"$scratch/wanted"
}

# Whose files go in whole.
digest_more() {
	cut -d' ' -f1 "$scratch/extra" | sort
}

digest_scripts() {
	(cd "$here" && sha256sum build-image.sh packages modules init disk-init \
		inittab inittab.ssh poweroff rackfs-console rackfs-net rackfs-ready \
		rackfs-sshd guest.c guest_frame.c guest_frame.h)
	(cd "$headers" && sha256sum identity.h)
	gcc --version | head -n 1
	zstd --version
}

# --- unpacking them ----------------------------------------------------------

# A tree with merged /usr, as Debian has it installed.
skeleton() {
	mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib" "$1/usr/lib64"
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$1/"
}

unpack() { # deb tree [patterns]
	local deb=$1 tree=$2
	shift 2
	if ! dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" \
		--no-same-owner --keep-directory-symlink "$@" \
		--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
		--exclude='./usr/share/locale/*' --exclude='./usr/share/info/*'; then
		die "can't unpack $deb"
	fi
}

unpack_all() {
	local name version file rest n=0 total
	total=$(wc -l <"$scratch/wanted")
	skeleton "$tree"
	while read -r name version file rest; do
		n=$((n + 1))
		progress $((40 + 25 * n / total)) "unpacking $name"
		case $name in
		linux-image-[0-9]* | linux-modules-[0-9]* | linux-binary-[0-9]*)
			unpack "$debs/$file" "$tree" \
				--exclude='./usr/lib/debug/*' ;;
		*)
			unpack "$debs/$file" "$tree" ;;
		esac
	done <"$scratch/base"
	while read -r name version file rest; do
		unpack "$debs/$file" "$tree"
		unpack "$debs/$file" "$root" --exclude='*/gconv/*'
	done <"$scratch/extra"
}

# --- putting the root together -------------------------------------------------

# Libraries are searched in the packages only, never on the host.
needed() { # file: copies the libraries it needs
	local lib path
	while read -r lib; do
		[ -z "${have[$lib]:-}" ] || continue
		have[$lib]=1
		path=$(find "$tree/usr/lib" "$tree/usr/lib64" -name "$lib" \
			-print -quit)
		[ -n "$path" ] || die "$lib, which ${1#"$tree"/} needs, is in" \
			"none of the packages"
		install -D "$path" "$root/${path#"$tree"/}"
		needed "$path"
	done < <({ readelf -d "$1" 2>/dev/null || :; } |
		sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
}

loader() { # file: its ELF interpreter
	readelf -lW "$1" | sed -n 's/.*interpreter: \(.*\)\]/\1/p'
}

take() { # path: a file of the packages, a link as a link
	local path=$1 interp
	path=${path/#bin\//usr/bin/}
	path=${path/#sbin\//usr/sbin/}
	path=${path/#lib\//usr/lib/}
	[ -e "$tree/$path" ] || die "$1 is in none of the packages"
	mkdir -p "$root/$(dirname "$path")"
	cp -P "$tree/$path" "$root/$path"
	[ ! -L "$tree/$path" ] || return 0
	interp=$(loader "$tree/$path" 2>/dev/null || :) # a text file has none
	if [ -n "$interp" ] && [ -z "${have[loader]:-}" ]; then
		have[loader]=1
		install -D "$(realpath "$tree$interp")" "$root/usr$interp"
	fi
	needed "$tree/$path"
}

take_files() {
	local line words path
	declare -gA have=()
	while read -r line; do
		read -ra words <<<"$line"
		for path in "${words[@]:1}"; do
			take "$path"
		done
	done < <(table "$here/packages")
	ln -sf openssh/sftp-server "$root/usr/lib/sftp-server"
}

# Links for what nothing better is there.
link_busybox() {
	local a
	for a in $("$root/usr/bin/busybox" --list); do
		[ -e "$root/usr/bin/$a" ] || [ -L "$root/usr/bin/$a" ] ||
			[ -e "$root/usr/sbin/$a" ] ||
			[ -L "$root/usr/sbin/$a" ] ||
			ln -s busybox "$root/usr/bin/$a"
	done
}

module_path() { # name: its file below lib/modules, with - and _ alike
	local name=${1//-/_}
	awk -F/ -v want="$name" '{ f = $NF; sub(/\.ko.*/, "", f);
		gsub("-", "_", f); if (f == want) { print; exit } }' \
		"$scratch/modules"
}

module_built_in() {
	awk -F/ -v want="${1//-/_}" '{ f = $NF; sub(/\.ko.*/, "", f);
		gsub("-", "_", f); if (f == want) found = 1 }
		END { exit !found }' "$tree/usr/lib/modules/$release/modules.builtin"
}

# Copies a module below $into after what it depends on, and appends its name to
# the list.
module() { # name list optional
	local path dep file
	[ -z "${loaded[${1//-/_}]:-}" ] || return 0
	! module_built_in "$1" || return 0
	path=$(module_path "$1")
	if [ -z "$path" ]; then
		[ -n "$3" ] && return 0
		die "the kernel $release has no module $1"
	fi
	loaded[${1//-/_}]=1
	file=$into/usr/lib/modules/$release/${path%.ko*}.ko
	mkdir -p "$(dirname "$file")"
	case $path in
	*.xz) xz -dc "$tree/usr/lib/modules/$release/$path" >"$file" ;;
	*.zst) zstd -qdc "$tree/usr/lib/modules/$release/$path" >"$file" ;;
	*) cp "$tree/usr/lib/modules/$release/$path" "$file" ;;
	esac
	chmod 644 "$file"
	while read -r dep; do
		module "$dep" "$2" ""
	done < <(objcopy -O binary -j .modinfo "$file" /dev/stdout |
		tr '\0' '\n' | sed -n 's/^depends=//p' | tr -s ',' '\n' | sed '/^$/d')
	echo "/lib/modules/$release/${path%.ko*}.ko" >>"$2"
}

find_kernel() {
	release=$(cd "$tree/usr/lib/modules" && ls)
	case $release in
	'' | *[[:space:]]*) die "not one kernel in the packages: '$release'" ;;
	esac
	(cd "$tree/usr/lib/modules/$release" &&
		find kernel -name '*.ko*' | sort) >"$scratch/modules"
}

# The modules of some lines of the table, and a list of each for who loads them.
take_modules() { # tree line...
	local into=$1 when words w
	local -A loaded=()
	shift
	mkdir -p "$into/etc/rackfs"
	while read -r when words; do
		[[ " $* " = *" $when "* ]] || continue
		for w in $words; do
			case $w in
			\?*) module "${w#?}" \
				"$into/etc/rackfs/modules.$when" optional ;;
			*) module "$w" "$into/etc/rackfs/modules.$when" "" ;;
			esac
		done
	done < <(table "$here/modules")
	cp "$tree/usr/lib/modules/$release"/modules.{builtin,order} \
		"$into/usr/lib/modules/$release/"
}

compile_guest() {
	# No path of this machine may get into the program.
	(cd "$here" && gcc -static -Os -std=gnu11 -D_GNU_SOURCE -Wall -Wextra \
		-I"$headers" -ffile-prefix-map="$headers=include" \
		-Wl,--build-id=none -s \
		-o "$root/usr/sbin/rackfs-guest" guest.c guest_frame.c) ||
		die "can't compile guest.c; is libc6-dev installed?"
}

own_files() {
	local e=$root/etc d
	for d in dev proc sys run tmp mnt root root/.ssh var var/log etc/rackfs \
		etc/dropbear; do
		mkdir -p "$root/$d"
	done
	ln -sfnT /run "$root/var/run"
	chmod 1777 "$root/tmp"
	chmod 700 "$root/root" "$root/root/.ssh"
	install -m 755 "$here/init" "$root/init"
	install -m 755 "$here"/rackfs-{console,net,ready,sshd} "$here/poweroff" \
		"$root/usr/sbin/"
	ln -sf poweroff "$root/usr/sbin/reboot"
	ln -sf poweroff "$root/usr/sbin/halt"
	install -m 644 "$here/inittab" "$e/inittab"
	install -m 644 "$here/inittab.ssh" "$e/rackfs/inittab.ssh"
	# No password fits "*": log in by key only.
	echo 'root:x:0:0:root:/root:/bin/sh' >"$e/passwd"
	echo 'root:*:19000:0:99999:7:::' >"$e/shadow"
	chmod 600 "$e/shadow"
	printf '%s\n' root:x:0: tty:x:5: disk:x:6: >"$e/group"
	echo /bin/sh >"$e/shells"
	printf '%s\n' 'hosts: files dns' >"$e/nsswitch.conf"
	# On QEMU's user network.
	echo 'nameserver 10.0.2.3' >"$e/resolv.conf"
	printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >"$e/hosts"
	# shellcheck disable=SC2016
	printf '%s\n' 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin' \
		'PS1="\u@\h:\w\\$ "' >"$e/profile"
	printf '%s\n' 'NAME=rackfs' 'ID=rackfs' \
		"PRETTY_NAME=\"rackfs netboot, Linux $release\"" >"$e/os-release"
}

pack_initrd() { # tree file
	# The epoch for all, so that the same inputs give the same bytes.
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . -mindepth 1 | sort |
		cpio -o -H newc -R 0:0 --quiet --reproducible) >"$scratch/cpio"
	zstd -q -12 -T1 --no-progress -o "$2" "$scratch/cpio"
}

# A small one that finds the root file system of an installed machine and goes
# over into it.
disk_initrd() {
	local d=$scratch/disk path
	# For take() and link_busybox().
	local root=$d
	# shellcheck disable=SC2034
	local -A have=()
	mkdir -p "$d"/{dev,proc,sys,run,sysroot}
	skeleton "$d"
	for path in bin/busybox sbin/findfs; do
		take "$path"
	done
	link_busybox
	take_modules "$d" disk
	install -m 755 "$here/disk-init" "$d/init"
	pack_initrd "$d" "$image/disk-initrd"
}

# No entry for lib itself: in an installed system that is a link.
modules_tar() {
	local d=$scratch/system
	skeleton "$d"
	take_modules "$d" early late more disk system
	cp "$tree/usr/lib/modules/$release/modules.builtin.modinfo" \
		"$d/usr/lib/modules/$release/" 2>/dev/null || :
	depmod -b "$d" "$release" || die "depmod failed for $release"
	tar -C "$d" -cf "$image/modules.tar" --sort=name --mtime=@0 --owner=0 \
		--group=0 --numeric-owner --format=ustar "lib/modules/$release"
}

pack() {
	pack_initrd "$root" "$image/initrd"
	disk_initrd
	modules_tar
	install -m 644 "$tree/boot/vmlinuz-$release" "$image/kernel"
	{
		echo "digest $digest"
		echo "kernel $release"
		(cd "$image" && sha256sum kernel initrd disk-initrd modules.tar)
		manifest_packages
	} >"$image/manifest"
}

build() {
	tree=$scratch/tree root=$scratch/root image=$scratch/image
	mkdir -p "$tree" "$root/etc/rackfs" "$image"
	skeleton "$root"
	download
	unpack_all
	progress 70 "collecting files"
	take_files
	find_kernel
	take_modules "$root" early late more
	compile_guest
	own_files
	link_busybox
	progress 85 "packing"
	pack
	progress 98 "storing"
	store "$image"
}

main "$@"
