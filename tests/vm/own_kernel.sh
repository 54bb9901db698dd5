#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Somebody's own kernel and initrd: Debian's kernel, and an initrd that is made
# here, with keys of its own and none of our init; the image says `identity: none`.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for program in busybox dropbear dropbearconvert cpio ssh-keygen dpkg-deb; do
	command -v $program >/dev/null || skip "$program is not here"
done

# --- Debian's kernel and its modules --------------------------------------------------

# The netboot image's build has downloaded it; else apt does.
deb=$(find "$RACKFS_BUILD/cache" -name 'linux-image-[0-9]*.deb' 2>/dev/null |
	sort | tail -n 1)
if [ -z "$deb" ]; then
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	(cd "$T" && apt-get -q download -o APT::Sandbox::User=root \
		"${package:-linux-image-cloud-amd64}") >"$T/apt" 2>&1
	deb=$(find "$T" -name 'linux-image-*.deb')
fi
[ -n "$deb" ] || skip "Debian's kernel can't be downloaded: $(tail -n 1 "$T/apt")"
mkdir "$T/deb"
dpkg-deb -x "$deb" "$T/deb"
kernel=$(find "$T/deb/boot" -name 'vmlinuz-*')

# --- an initrd ---------------------------------------------------------------------------

tree=$T/root
mkdir -p "$tree"/{bin,dev,proc,sys,run,tmp,root/.ssh,etc/dropbear,lib/modules}
copy() { # a program with its libraries
	local file
	for file in "$1" $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
		install -D "$file" "$tree$file"
	done
}
copy "$(realpath "$(command -v busybox)")"
copy "$(realpath "$(command -v dropbear)")"
cp "$(realpath "$(command -v busybox)")" "$tree/bin/busybox"
cp "$(realpath "$(command -v dropbear)")" "$tree/bin/dropbear"
for applet in sh mount insmod ip cat sleep hostname poweroff ls; do
	ln -s busybox "$tree/bin/$applet"
done
n=10
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev \
	virtio_pci failover net_failover virtio_net; do
	file=$(find "$T/deb" -name "$module.ko*")
	n=$((n + 1))
	case $file in
	*.xz) xz -dc "$file" >"$tree/lib/modules/$n-$module.ko" ;;
	*.ko) cp "$file" "$tree/lib/modules/$n-$module.ko" ;;
	esac
done
ssh-keygen -q -t ed25519 -N '' -C mine -f "$T/user"
ssh-keygen -q -t ed25519 -N '' -C host -f "$T/host"
ssh-keygen -q -t ed25519 -N '' -C other -f "$T/other"
dropbearconvert openssh dropbear "$T/host" \
	"$tree/etc/dropbear/dropbear_ed25519_host_key" 2>/dev/null
install -m 600 "$T/user.pub" "$tree/root/.ssh/authorized_keys"
chmod 700 "$tree/root" "$tree/root/.ssh"
echo 'root:x:0:0::/root:/bin/sh' >"$tree/etc/passwd"
echo /bin/sh >"$tree/etc/shells"
cat >"$tree/init" <<'INIT'
#!/bin/sh
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts
mount -t devpts none /dev/pts
for m in /lib/modules/*; do insmod $m; done
hostname somebody
ip link set lo up
for n in /sys/class/net/e*; do
	[ "$(cat $n/address)" = 52:54:00:00:00:fe ] || continue
	ip link set ${n##*/} up
	ip addr add 10.0.2.15/24 dev ${n##*/}
done
echo "this is somebody's own init"
exec dropbear -F -E -s -r /etc/dropbear/dropbear_ed25519_host_key
INIT
sed -i 's/mkdir -p/busybox mkdir -p/' "$tree/init"
chmod +x "$tree/init"
(cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet) >"$T/initrd"

# --- a node that boots it ------------------------------------------------------------------

# shellcheck disable=SC2119
start_daemon
own_port
cd "$M" || exit 1
mkdir images/mine nodes/node01
cat >images/mine/spec <<SPEC
{
  "kind": "netboot",
  "kernel": "$kernel",
  "initrd": "$T/initrd",
  "cmdline": "console=ttyS0,115200 panic=-1",
  "identity": "none",
  "user_key": "$T/user",
  "host_key": "$T/host.pub"
}
SPEC
echo '{"boot":{"image":"mine"},"boot_timeout":"4m","stop_timeout":"10s"}' \
	>nodes/node01/spec
echo up >nodes/node01/state
settles node01 up "somebody's own kernel and initrd come up" || exit 1
is "the image is ready" "$(cat images/mine/state)" ready
like "it is their init" "$(cat nodes/node01/console)" "somebody's own init"
unlike "and none of ours" "$(cat nodes/node01/console)" 'rackfs:'
is "ssh by name works with their key" "$(on node01 hostname)" somebody
t "with the pinned host key" grep -qF "$(cut -d ' ' -f 2 "$T/host.pub")" \
	known_hosts
is "their cmdline was taken" "$(on node01 "cat /proc/cmdline" | grep -c panic=-1)" 1
echo down >nodes/node01/state
settles node01 down "it goes down"

# --- another host answers -------------------------------------------------------------------

sed "s|$T/host.pub|$T/other.pub|" images/mine/spec >"$T/spec"
t "another host key is pinned" cp "$T/spec" images/mine/spec
echo up >nodes/node01/state
refused "a host with another key is not trusted" EIO read wait/node01
like "and that is what error says" "$(cat nodes/node01/error)" \
	'^failed: ssh: .*host key'
echo off >nodes/node01/state
settles node01 down "off"
sed "s|$T/user|$T/other|; s|other.pub|host.pub|" "$T/spec" >images/mine/spec
echo up >nodes/node01/state
refused "a user key that it does not know" EIO read wait/node01
like "is named" "$(cat nodes/node01/error)" '^failed: ssh: .*key'
echo off >nodes/node01/state
settles node01 down "off again"
