#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The builder of root file systems by itself: what is in one, that root and an
# ordinary user get the same bytes, and that a build that ends early leaves
# nothing.  Tests that install boot it.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"

for program in apt-get mmdebstrap unshare newuidmap; do
	command -v $program >/dev/null || skip "$program is not here"
done
script=$ROOT/backend/rootfs/build-rootfs.sh
image_of() { sed -n 's/^image \(.*\) [0-9a-f]*$/\1/p' "$1"; }

mkdir -p "$RACKFS_BUILD/cache"
timeout 900 "$script" "$RACKFS_BUILD/cache" >"$T/first" 2>"$T/err" ||
	note <"$T/err"
image=$(image_of "$T/first")
t "the root file system is built" test -s "$image/rootfs.tar"
[ -s "$image/rootfs.tar" ] || exit 1
is "once it is there, nothing is done" \
	"$(timeout 60 "$script" --check "$RACKFS_BUILD/cache")" \
	"image $image ${image##*/rootfs-}"
is "its manifest has its digest" \
	"$(cd "$image" && grep '  rootfs.tar$' manifest | sha256sum -c 2>&1)" \
	"rootfs.tar: OK"

list=$(tar -tf "$image/rootfs.tar")
for file in usr/sbin/init usr/sbin/sshd usr/sbin/mkfs.ext4 usr/sbin/mkfs.vfat \
	usr/bin/zstd usr/sbin/sfdisk usr/bin/kmod usr/sbin/resize2fs; do
	grep -qx "./$file" <<<"$list" || not_ok "$file is not in it"
done
ok "what a machine needs is in it"
unlike "no host key, no kernel, no random seed" "$list" \
	'ssh_host_|/vmlinuz|/boot/.|var/lib/systemd/random-seed'
unlike "no manual, no locale" "$list" '/usr/share/(man|locale)/.*[^/]$'
is "what is started at boot" \
	"$(grep -E '^./etc/systemd/system/.*\.(wants|requires)/.' <<<"$list" |
		sed 's|.*/||' | sort -u | paste -sd' ')" \
	"ssh.service systemd-networkd.service systemd-networkd.socket"
tar -xOf "$image/rootfs.tar" ./etc/shadow >"$T/shadow" 2>/dev/null
like "no password fits" "$(cat "$T/shadow")" '^root:[*!]'
is "machines don't share an id" \
	"$(tar -xOf "$image/rootfs.tar" ./etc/machine-id | wc -c)" 0
unlike "no path of this host is in apt's sources" "$list" \
	'etc/apt/sources.list.d/.'

# A second time, in a cache that has the packages, as somebody without rights.
mkdir "$T/cache"
cp -r "$RACKFS_BUILD/cache/debs" "$T/cache/"
cat >"$T/as-user" <<'PRIVATE'
#!/bin/sh
# as-user USER SUBIDS COMMAND...: who has a range of user ids of its own.
set -e
mount --bind "$2" /etc/subuid
mount --bind "$2" /etc/subgid
user=$1
shift 2
exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups -- "$@"
PRIVATE
chmod +x "$T/as-user"
as_user=()
if [ "$(id -u)" = 0 ]; then
	echo nobody:100000:65536 >"$T/subids"
	chmod 711 "$T"
	touch /etc/subuid /etc/subgid
	if unshare -m "$T/as-user" nobody "$T/subids" test -r "$script"; then
		as_user=(unshare -m "$T/as-user" nobody "$T/subids")
		chown -R nobody "$T/cache"
	fi
fi
[ "$(id -u)" != 0 ] || [ ${#as_user[@]} != 0 ] ||
	echo "skip as an ordinary user: can't become one here"
mkdir -m 1777 "$T/tmp"

# Ended early, in the middle of the work.
(umask 077 && TMPDIR=$T/tmp exec timeout 900 "${as_user[@]}" \
	"$script" "$T/cache") >"$T/ended" 2>"$T/err" &
builder=$!
until_true 300 grep -qE '^progress [3-9][0-9] ' "$T/ended"
kill -TERM $builder
wait $builder
t "a build that is ended says nothing of an image" \
	test -z "$(image_of "$T/ended")"
tidy() { [ -z "$(find "$T/cache" "$T/tmp" -mindepth 1 -maxdepth 1 \
	\( -name 'build.*' -o -name 'rootfs-*' -o -name 'rackfs-rootfs.*' \))" ]; }
until_true 60 tidy
t "and leaves nothing" tidy

(umask 077 && TMPDIR=$T/tmp TZ=Asia/Tokyo timeout 900 "${as_user[@]}" \
	"$script" "$T/cache") >"$T/again" 2>"$T/err" || note <"$T/err"
again=$(image_of "$T/again")
t "the same inputs give the same bytes" cmp "$image/rootfs.tar" \
	"$again/rootfs.tar"
like "progress is told" "$(cat "$T/again")" '^progress [0-9]+ setting up '
t "nothing but the image is left" test -z "$(find "$T/tmp" -mindepth 1)"
like "an unknown package is named" \
	"$("$script" "$T/cache" no-such-thing 2>&1)" \
	"doesn't know the packages no-such-thing"
[ $bad = 0 ]
