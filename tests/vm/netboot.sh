#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The netboot image by itself: what is in it, that the same inputs give the
# same bytes, and that it boots and takes an identity, without the daemon.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"

for program in apt-get cpio zstd gcc; do
	command -v $program >/dev/null || skip "$program is not here"
done

build() { # build CACHE [OPTION...]: prints the image's folder
	local cache=$1
	shift
	timeout 900 "$ROOT/backend/netboot/build-image.sh" "$@" "$cache" |
		tee "$T/progress" | sed -n 's/^image \(.*\) [0-9a-f]*$/\1/p'
}

mkdir -p "$RACKFS_BUILD/cache"
image=$(build "$RACKFS_BUILD/cache")
t "the image is built" test -s "$image/kernel" -a -s "$image/initrd"
[ -s "$image/initrd" ] || exit 1
is "once it is there, nothing is done" \
	"$(build "$RACKFS_BUILD/cache" --check; cat "$T/progress")" \
	"$image
image $image ${image##*/netboot-}"

# The packages are there already: only the build is done again.
mkdir "$T/cache"
cp -r "$RACKFS_BUILD/cache/debs" "$T/cache/"
again=$(umask 077 && TZ=Asia/Tokyo build "$T/cache")
t "the same inputs give the same bytes" cmp "$image/initrd" "$again/initrd"
t "of the disk-initrd as well" cmp "$image/disk-initrd" "$again/disk-initrd"
t "and of the modules" cmp "$image/modules.tar" "$again/modules.tar"
t "and the same manifest" cmp "$image/manifest" "$again/manifest"
like "progress is told" "$(cat "$T/progress")" '^progress [0-9]+ unpacking '
is "nothing half made is left" "$(find "$T/cache" -name 'build.*')" ""

list=$(zstd -qdc "$image/initrd" | cpio -t --quiet)
for file in usr/bin/busybox usr/sbin/dropbear usr/lib/openssh/sftp-server \
	usr/bin/tar usr/bin/zstd usr/sbin/sfdisk usr/sbin/blkid \
	usr/sbin/mkfs.ext4 usr/sbin/mkfs.vfat usr/sbin/mkswap usr/sbin/e2fsck \
	usr/sbin/resize2fs usr/bin/partx usr/sbin/blockdev usr/sbin/wipefs; do
	grep -qx "$file" <<<"$list" || not_ok "$file is not in the initrd"
done
ok "the tools are in the initrd"
unlike "no key and no identity is in it" "$list" \
	'host_key|authorized_keys|node\.conf|rackfs/seed'
is "all of it belongs to root" "$(zstd -qdc "$image/initrd" |
	cpio -tv --quiet --numeric-uid-gid | awk '{ print $3, $4 }' | sort -u)" \
	"0 0"

mkdir "$T/broken"
echo 'Dir::State::lists "'"$T"'/broken";' >"$T/apt.conf"
like "missing lists are told" \
	"$(APT_CONFIG=$T/apt.conf build "$T/cache" 2>&1)" 'apt-get update'
like "an unknown package is named" \
	"$("$ROOT/backend/netboot/build-image.sh" "$T/cache" no-such-thing 2>&1)" \
	"doesn't know the packages no-such-thing"

timeout 600 python3 "$ROOT/tests/vm/netboot.py" "$ROOT" "$image" "$T" ||
	bad=$((bad + 1))
[ $bad = 0 ]
