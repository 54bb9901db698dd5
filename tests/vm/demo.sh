#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make demo and make demo-stop: three nodes, a second time in a moment, and
# nothing left; as an ordinary user, where this host lets the test become one.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
for port in 2201 2202 2203; do
	! taken $port || skip "the demo needs port $port, and somebody has it"
done

# An ordinary user needs /dev/fuse as a plain Debian has it: 0666.
as_user=no
if [ "$(id -u)" = 0 ] && [ "$(stat -c %a /dev/fuse)" != 666 ]; then
	cat >"$T/private" <<-'PRIVATE'
		#!/bin/sh
		# private USER COMMAND...: with a /dev/fuse of its own.
		set -e
		mount -t tmpfs none "$T/dev"
		mknod -m 666 "$T/dev/fuse" c 10 229
		mount --bind "$T/dev/fuse" /dev/fuse
		user=$1
		shift
		exec runuser -u "$user" -- "$@"
	PRIVATE
	chmod +x "$T/private"
	mkdir "$T/dev"
	chmod 1777 "$T"
	if unshare -m "$T/private" nobody test -x "$RACKFS" -a -r \
		"$ROOT/backend/netboot/build-image.sh" >/dev/null 2>&1; then
		as_user=yes
	fi
fi
[ $as_user = yes ] ||
	echo "skip demo as an ordinary user: can't become one who may mount"

export DEMO_DIR=$T/demo HOME=$T/demo
mkdir -p "$DEMO_DIR/.rackfs/state"
cp -a "$RACKFS_BUILD/cache" "$DEMO_DIR/.rackfs/state/" 2>/dev/null
demo=$ROOT/examples/demo
cat >"$T/all" <<ALL
cd "$DEMO_DIR" || exit 1
timeout 500 "$demo" start "$RACKFS" >first 2>&1 </dev/null; echo \$? >>first
from=\${EPOCHREALTIME/./}
timeout 100 "$demo" start "$RACKFS" >second 2>&1 </dev/null; echo \$? >>second
echo \$(((\${EPOCHREALTIME/./} - from) / 1000)) >seconds
timeout 20 cat cluster/networks/lan/reach >reach
timeout 120 "$demo" stop "$RACKFS" >stopped 2>&1 </dev/null; echo \$? >>stopped
timeout 100 "$demo" stop "$RACKFS" >again 2>&1 </dev/null; echo \$? >>again
grep -c "$DEMO_DIR" /proc/self/mountinfo >mounts
ALL
if [ $as_user = yes ]; then
	chown -R nobody "$DEMO_DIR"
	unshare -m "$T/private" nobody bash "$T/all"
else
	bash "$T/all"
fi
cd "$DEMO_DIR" || exit 1
is "make demo" "$(tail -n 1 first)" 0
[ $bad = 0 ] || note <first
is "three nodes are up" "$(grep -cE '^node0[123] +up' first)" 3
is "it has logged in to each" "$(grep -cE '^node0[123]: Linux' first)" 3
like "it shows the disks" "$(cat first)" '^/dev/vda2 .* /mnt$'
like "and what it waited for" "$(cat first)" 'node01: booting'
like "and what to try next" "$(cat first)" 'Try next'
is "reach: six pairs without loss" "$(grep -cE '^node.* 0%' reach)" 6
is "a second time" "$(tail -n 1 second)" 0
like "there is nothing to do" "$(cat second)" 'nothing to do'
is "in a moment: $(cat seconds) ms" "$(($(cat seconds) < 5000))" 1
is "make demo-stop" "$(tail -n 1 stopped)" 0
is "a second time" "$(tail -n 1 again)" 0
is "no mount is left" "$(cat mounts)" 0
is "no machine is left" "$(for cwd in /proc/[0-9]*/cwd; do readlink "$cwd"; done \
	2>/dev/null | grep -c "^$DEMO_DIR/.rackfs")" 0
