#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the root file system of a machine from Debian packages: lean, with
# systemd and sshd, without a kernel (the netboot image's boots it), without
# host keys.  backend/drivers/image_rootfs.c runs it; people may as well.  Needs
# no root: an ordinary user's own range of user ids (subuid) does.  The same
# inputs give the same bytes.
#
#   build-rootfs.sh [--check] CACHEDIR [PACKAGE...]
#
# The image has rootfs.tar and manifest.  Packages are fetched through the
# host's own apt and given to mmdebstrap as a folder, so no mirror is named
# and a second build needs no network.  Services of extra packages are not
# enabled.  What it prints, --check and the cache: backend/packages/builder.sh.

set -Eeuo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
script=build-rootfs
kind=rootfs
contents=(manifest rootfs.tar)
# shellcheck source=backend/packages/builder.sh
. "$here/../packages/builder.sh"

# Of these nothing gets in.
EXCLUDE=(/usr/share/{doc,man,locale,info,i18n/locales,lintian}/'*'
	/usr/lib/udev/hwdb.d/'*')
INCLUDE=(/usr/share/doc/'*'/copyright)
# shellcheck disable=SC2016
MERGE_USR='for d in bin sbin lib lib64; do
	mkdir -p "$1/usr/$d" && ln -s "usr/$d" "$1/$d"; done'

tools() {
	check_tools mmdebstrap mmdebstrap unshare util-linux
	[ "$(id -u)" != 0 ] || return 0
	check_tools newuidmap uidmap
	grep -qsE "^($(id -un)|$(id -u)):" /etc/subuid ||
		die "$(id -un) has no range of user ids in /etc/subuid; run:" \
			"sudo usermod --add-subuids 100000-165535" \
			"--add-subgids 100000-165535 $(id -un)"
	unshare --user true 2>/dev/null ||
		die "this host lets no ordinary user make a user namespace;" \
			"run: sudo sysctl kernel.unprivileged_userns_clone=1" \
			"user.max_user_namespaces=10000"
}

essential() {
	echo "?and(?essential,?architecture($(dpkg --print-architecture)))"
}

resolve() {
	local packages
	mapfile -t packages < <(table "$here/packages")
	solve "$(essential)" "${packages[@]}" "$@" >"$scratch/solved"
	sort -u "$scratch/solved" >"$scratch/wanted"
	printf '%s\n' "${packages[@]}" "$@" | sort -u >"$scratch/asked"
}

digest_more() {
	cat "$scratch/asked"
}

digest_scripts() {
	(cd "$here" && sha256sum build-rootfs.sh packages customize)
	mmdebstrap --version
}

# --- the build -----------------------------------------------------------------

# A folder that apt takes for a repository.  An ordinary user's part of the
# build runs under user ids that can't look into the cache.
repository() {
	local package version file rest
	mkdir "$work/repo"
	while read -r package version file rest; do
		cp "$debs/$file" "$work/repo/"
		dpkg-deb -f "$debs/$file"
		echo "Filename: ./$file"
		echo "Size: $(stat -c %s "$debs/$file")"
		echo "SHA256: ${rest##* }"
		echo
	done <"$scratch/wanted" >"$work/repo/Packages"
	cp "$here/customize" "$work/"
	chmod -R go+rX "$work/repo" "$work/customize"
}

# The newest of the packages: their own time, kept in the head of the archive.
epoch() {
	local f
	for f in "$work"/repo/*.deb; do
		head -c 36 "$f" | tail -c 12
		echo
	done | sort -n | tail -n 1 | tr -d ' '
}

# mmdebstrap's words as percents: each package is unpacked, then set up.
follow() {
	local line n=0 total said=0 now
	total=$(($(wc -l <"$scratch/wanted") * 2))
	while read -r line; do
		echo "$line"
		case $line in
		'Unpacking '* | 'Setting up '*) ;;
		'I: creating tarball'*)
			progress 92 "packing" >&3
			continue
			;;
		*) continue ;;
		esac
		n=$((n + 1))
		now=$((30 + 60 * n / total))
		if [ $now -le $said ] || [ $now -gt 90 ]; then
			continue
		fi
		said=$now
		line=${line%% (*}
		progress $now "${line,}" >&3
	done
}

bootstrap() {
	local args=() p mode=unshare private=()
	for p in "${EXCLUDE[@]}"; do
		args+=(--dpkgopt="path-exclude=$p")
	done
	for p in "${INCLUDE[@]}"; do
		args+=(--dpkgopt="path-include=$p")
	done
	# Root of a container may lack subordinate ids but needs none.  What it
	# mounts then goes with the build, even with one that is killed.
	if [ "$(id -u)" = 0 ]; then
		mode=root
		unshare --mount true 2>/dev/null && private=(unshare --mount)
	fi
	SOURCE_DATE_EPOCH=$(epoch) TMPDIR=$work "${private[@]}" \
		mmdebstrap --verbose --mode=$mode --variant=essential \
		--format=tar --include="$(paste -sd, "$scratch/asked")" \
		--setup-hook="$MERGE_USR" \
		--aptopt='Apt::Install-Recommends "false"' "${args[@]}" \
		--skip=cleanup/apt \
		--customize-hook="$work/customize" '' "$image/rootfs.tar" \
		"deb [trusted=yes] copy:$work/repo ./"
}

failed() {
	tail -n 40 "$scratch/build.log" >&2
	if grep -q 'No space left on device' "$scratch/build.log"; then
		die "no space left: a build takes 1 GB in ${TMPDIR:-/tmp} and" \
			"300 MB in $cache; TMPDIR names another folder"
	fi
	die "mmdebstrap failed: $(grep '^E: ' "$scratch/build.log" |
		tail -n 1 | cut -c4-)"
}

# A folder with files of our other user ids: they alone can remove it.
remove_work() { # folder
	rm -rf --one-file-system "$1" 2>/dev/null && return
	[ ! -d "$1" ] || [ "$(id -u)" = 0 ] ||
		mmdebstrap --unshare-helper rm -rf "$1"/mmdebstrap.* 2>/dev/null || :
	rm -rf --one-file-system "$1" || :
}

# What killed builds left outside the cache; a living one holds its lock.
sweep_work() {
	local d
	find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'rackfs-rootfs.*' \
		-user "$(id -u)" -mmin +1 2>/dev/null | while read -r d; do
		# shellcheck disable=SC2094 # a lock is no reading
		(flock -n 7 && remove_work "$d") 7<"$d" || :
	done
}

build() {
	image=$scratch/image
	mkdir "$image"
	download
	sweep_work
	work=$(mktemp -d "${TMPDIR:-/tmp}/rackfs-rootfs.XXXXXX") ||
		die "can't write in ${TMPDIR:-/tmp}"
	exec 7<"$work"
	flock 7
	trap 'remove_work "$work"; rm -rf "$scratch"' EXIT
	chmod 755 "$work"
	progress 25 "preparing packages"
	repository
	exec 3>&1
	# mmdebstrap has dash use descriptors by number, of one digit only.
	if ! bootstrap 2>&1 </dev/null 3>&- 7>&- 8>&- 9>&- | follow >"$scratch/build.log"; then
		failed
	fi
	progress 96 "storing"
	{
		echo "digest $digest"
		(cd "$image" && sha256sum rootfs.tar)
		manifest_packages
	} >"$image/manifest"
	store "$image"
}

main "$@"
