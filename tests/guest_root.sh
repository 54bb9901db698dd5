#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# guest_root.sh DIR busybox|coreutils SHELL: makes a small root file system to
# chroot into, for a user with that shell, with the tools of a lean guest of that kind, and a systemctl and a
# journalctl that only keep a record below /sysd.  Used by tests/test_setup.c.
set -e
root=$1
mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/run" "$root/tmp" \
	"$root/sysd" "$root/mnt/etc" "$root/usr"
ln -sfn ../bin "$root/usr/bin"

take() { # PROGRAM...: with its libraries
	for program; do
		for path in /usr/bin /bin /usr/sbin; do
			path=$path/$program
			[ ! -x "$path" ] || break
		done
		cp -L "$path" "$root/bin/$program"
		ldd "$path" 2>/dev/null | grep -o '/[^ ]*' | while read -r lib; do
			mkdir -p "$root${lib%/*}"
			[ -e "$root$lib" ] || cp -L "$lib" "$root$lib"
		done
	done
}

if [ "$2" = busybox ]; then
	take busybox tar flock
	for applet in $("$root/bin/busybox" --list); do
		[ -e "$root/bin/$applet" ] ||
			ln -s busybox "$root/bin/$applet"
	done
else
	take dash tar cat chmod cp flock id ln ls mkdir mv readlink \
		rm sha256sum sleep stat sync timeout touch true
	ln -s dash "$root/bin/sh"
fi
mkdir -p "$root${3%/*}"
[ -e "$root$3" ] || printf '%s\n' '#!/bin/sh' 'exec /bin/sh "$@"' >"$root$3"
chmod 755 "$root$3"
mkdir -p "$root/proc"
mknod -m 666 "$root/dev/null" c 1 3
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
printf '%s\n' 'root:x:0:0::/:' 'etcd:x:77:78::/:' >"$root/mnt/etc/passwd"
printf '%s\n' 'root:x:0:' 'etcd:x:78:' 'ssl:x:79:' >"$root/mnt/etc/group"

cat >"$root/bin/systemctl" <<'END'
#!/bin/sh
d=/sysd
echo "$*" >>$d/log
c= units=
while [ $# -gt 0 ]; do
	case $1 in
	-p) shift ;;
	-*) ;;
	*) if [ "$c" ]; then units="$units $1"; else c=$1; fi ;;
	esac
	shift
done
is() { if [ -f "$d/$1.$2" ]; then cat "$d/$1.$2"; else echo "$3"; fi; }
code=0
for u in $units; do
	f=/etc/systemd/system/$u
	case $c in
	show)
		[ -f $f ] && l=loaded || l=not-found
		printf '%s\n' "Id=$u" "LoadState=$l" \
			"ActiveState=$(is $u active inactive)" SubState=x \
			"Result=$(is $u result success)" \
			"UnitFileState=$(is $u enabled disabled)" \
			NeedDaemonReload=no Type=simple \
			ExecMainExitTimestampMonotonic=0 ''
		;;
	enable) echo enabled >$d/$u.enabled ;;
	disable) rm -f $d/$u.enabled ;;
	restart)
		[ -f $f ] || exit 5
		s=active r=success
		case $(cat $f) in
		*dies*) s=failed r=exit-code ;;
		*slow*) s=activating ;;
		esac
		echo $s >$d/$u.active
		echo $r >$d/$u.result
		echo "$u" >>$d/started
		;;
	stop) echo inactive >$d/$u.active ;;
	reset-failed) echo inactive >$d/$u.active ;;
	is-active)
		s=$(is $u active inactive)
		echo $s
		[ $s = active ] || code=3
		;;
	esac
done
exit $code
END
cat >"$root/bin/journalctl" <<'END'
#!/bin/sh
echo "first words of $7"
echo "and its last"
END
chmod 755 "$root/bin/systemctl" "$root/bin/journalctl"
