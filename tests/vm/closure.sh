#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A closure through the tree, from nix to `up`: a system laid out as NixOS lays
# one out (tests/vm/toy/), built by nix, is installed from a path of this host's
# store and booted by UEFI, and from an export and booted directly, side by
# side.  What has a path missing is told.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for program in apt-get mmdebstrap nix-build nix-store gcc zstd; do
	command -v $program >/dev/null || skip "$program is not here"
done
[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || skip "ovmf is not installed"
own_mounts

# --- a system, in a store of our own --------------------------------------------------

mkdir -p /nix "$T/nix" "$T/debian" "$RACKFS_BUILD/cache"
mount --bind "$T/nix" /nix
rootfs=$(debian_rootfs)
[ -s "$rootfs" ] || { not_ok "no root file system"; note <"$T/err"; exit 1; }
tar -C "$T/debian" --no-same-owner --exclude ./dev -xf "$rootfs"
top=$(nix-build --no-out-link --option build-users-group '' \
	--option sandbox false --option substitute false \
	--argstr debian "$T/debian" \
	--argstr nix "$(realpath "$(command -v nix-store)")" \
	"$ROOT/tests/vm/toy/system.nix" 2>"$T/err") || {
	not_ok "nix builds a system"
	note <"$T/err"
	exit 1
}
ln -s "$top" "$T/result"
mapfile -t paths < <(nix-store --query --requisites "$top" 2>/dev/null)
is "it has three paths" "${#paths[@]}" 3
path_of() { printf '%s\n' "${paths[@]}" | grep -- "-$1\$"; }
debian=$(path_of debian) nix=$(path_of nix)
nix-store --export "${paths[@]}" 2>/dev/null | zstd -q >"$T/system.export"
nix-store --export "$top" "$nix" >"$T/half.export" 2>/dev/null

# --- two nodes --------------------------------------------------------------------------

# Each node has a port of its own.
share_image
# shellcheck disable=SC2119
start_daemon
cd "$M" || exit 1
image() { # image NAME SOURCE [MORE]
	mkdir -p "images/$1"
	echo "{\"kind\":\"closure\",\"source\":\"$2\"${3:-}}" >"images/$1/spec"
}
image path "$T/result"
image export "$T/system.export" \
	",\"sha256\":\"$(sha256sum <"$T/system.export" | cut -c1-64)\""
mkdir nodes/node01 nodes/node02
spec() { # spec IMAGE FIRMWARE
	jq -n --arg image "$1" --arg firmware "$2" --argjson port "$(free_port)" '{
		memory: "512M", ssh: {port: $port},
		boot: {firmware: $firmware}, install: {image: $image},
		disk: {size: "1G", partitions: [
			{name: "ESP", size: "64M", filesystem: "vfat",
				label: "boot", mount: "/boot", flags: ["esp"]},
			{name: "root", size: "100%", filesystem: "ext4",
				label: "root", mount: "/"}]},
		files: {"/opt/word": {content: "hello\n"}}}'
}
spec path uefi >nodes/node01/spec
spec export direct >nodes/node02/spec
jq '.services.web.unit = "[Service]"' nodes/node01/spec >"$T/bad"
refused "a unit beside those of the closure" EINVAL write nodes/node01/spec \
	<"$T/bad"
like "is told" "$(cat nodes/node01/error)" \
	'^refused: spec: services.web.unit: units of a closure'
echo up >state

for node in node01 node02; do
	LIMIT=400 settles $node up "$node is up from a closure" || exit 1
	took $node
	# shellcheck disable=SC2016 # the guest's shell expands
	out=$(on $node 'stat -f -c "root is %T" /; hostname
		readlink /run/current-system /usr; cat /opt/word
		ip -4 -o addr; echo "init=$(tr " " "\n" </proc/cmdline |
			sed -n "s/^init=//p")"
		readlink /nix/var/nix/profiles/system
		readlink /nix/var/nix/profiles/system-1-link
		readlink /nix/var/nix/gcroots/profiles
		cat /etc/switched; ls /etc/NIXOS
		echo "store $(stat -c "%a %u" /nix/store)"
		echo "owners $(find /nix/store ! -user 0 | wc -l)"
		[ ! -d /sys/firmware/efi ] || echo UEFI
		cat /boot/loader/entries/rackfs.conf' 2>/dev/null)
	like "$node: from its own disk" "$out" '^root is ext2/ext3$'
	like "$node: its name" "$out" "^$node\$"
	like "$node: its address" "$out" " 10.36.0.1${node#node0}/24 "
	like "$node: the file of its spec" "$out" '^hello$'
	like "$node: the programs are those of the store" "$out" \
		'^/nix/store/.*-debian/usr$'
	like "$node: the kernel was told its init" "$out" "^init=$top/init\$"
	like "$node: it is the current system" "$out" "^$top\$"
	like "$node: the profile leads to it" "$out" '^system-1-link$'
	like "$node: and keeps it" "$out" '^/nix/var/nix/profiles$'
	like "$node: it was switched to" "$out" '^boot 1$'
	like "$node: it is marked as NixOS" "$out" '^/etc/NIXOS$'
	like "$node: the store's mode" "$out" '^store 1775 0$'
	like "$node: and owner" "$out" '^owners 0$'
	[ $node = node01 ] || continue
	like "$node: it was booted by UEFI" "$out" '^UEFI$'
	like "$node: by our entry" "$out" "^options .*init=$top/init"
done
out=$(on node02 "nix=/run/current-system/sw/bin/nix-store
	\$nix --query --requisites $top
	\$nix --verify --check-contents; echo rc \$?" 2>/dev/null)
is "nix knows all paths" "$(grep -c '^/nix/store/' <<<"$out")" 3
like "and finds them whole" "$out" '^rc 0$'

# --- what has a path missing ---------------------------------------------------------------

mkdir nodes/node03
cannot() { # cannot WHAT REGEX
	spec bad direct >nodes/node03/spec
	echo up >nodes/node03/state
	refused "$1" EIO read wait/node03
	like "$1: the sentence" "$(cat nodes/node03/error)" "$2"
	echo off >nodes/node03/state
	settle node03 >/dev/null
}
image bad "$T/half.export"
cannot "an export with a path missing" "^failed: image: .*lacks $debian, which $top refers"
image bad "$nix"
cannot "a path that is no system" "^failed: image: .*$nix: .*no init"
mv "$debian" "$T/gone"
echo "{\"kind\":\"closure\",\"source\":\"$top\",\"init\":\"$top/init\"}" \
	>images/bad/spec
cannot "a store with a path missing" "^failed: image: .*missing.*: $debian"
