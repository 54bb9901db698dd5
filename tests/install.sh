#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make install: what is put where, that the installed program finds its data,
# that the unit and the man pages are right; make uninstall leaves nothing.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"

# With the objects that were installed last, compiling is quick.
to="DESTDIR=$T/dest prefix=/usr INSTALLED=$RACKFS_BUILD/installed"
# shellcheck disable=SC2086 # words
if ! make -C "$ROOT" -j2 install $to >"$T/log" 2>&1; then
	not_ok "make install"
	tail -n 30 "$T/log" | note
	exit 1
fi
ok "make install"
usr=$T/dest/usr
for f in bin/rackfs share/rackfs/netboot/build-image.sh \
	share/rackfs/netboot/guest.c share/rackfs/netboot/identity.h \
	share/rackfs/rootfs/build-rootfs.sh share/rackfs/rootfs/packages \
	share/rackfs/packages/builder.sh share/rackfs/packages/core lib/systemd/system/rackfs.service \
	share/man/man8/rackfs.8 share/man/man5/rackfs-spec.5; do
	t "$f" test -s "$usr/$f"
done
is "nothing is outside of prefix" "$(ls "$T/dest")" usr
is "nothing is writable by others" "$(find "$usr" -perm /022 ! -type l)" ""
is "programs can be run" "$(stat -c %a "$usr/bin/rackfs" \
	"$usr"/share/rackfs/*/build-*.sh "$usr"/share/rackfs/rootfs/customize |
	sort -u)" 755
t "the program has its folder of data" grep -qF /usr/share/rackfs "$usr/bin/rackfs"
if grep -qF "$ROOT/backend" "$usr/bin/rackfs"; then
	not_ok "and the checkout's as well"
else
	ok "and not the checkout's"
fi
t "it runs" "$usr/bin/rackfs" --help
# The images' scripts find all that they need there.
for build in netboot/build-image.sh rootfs/build-rootfs.sh; do
	out=$("$usr/share/rackfs/$build" --check "$T/cache" 2>&1)
	rc=$?
	is "$build works from there (3: nothing is cached): $out" \
		"$((rc == 0 || rc == 3))" 1
done

unit=$usr/lib/systemd/system/rackfs.service
like "the unit starts the installed program" "$(cat "$unit")" \
	'^ExecStart=/usr/bin/rackfs '
like "a stop leaves machines alone" "$(cat "$unit")" '^KillMode=process'
unlike "nothing in it makes a mount namespace" "$(cat "$unit")" \
	'^(Private(Tmp|Devices|Mounts)|Protect|ReadWritePaths|ReadOnly|Inaccessible|Bind|TemporaryFileSystem|RootDirectory|MountFlags)'
if command -v systemd-analyze >/dev/null; then
	# It wants the program to be there.
	sed "s|/usr/bin/rackfs|$usr/bin/rackfs|" "$unit" >"$T/rackfs.service"
	out=$(systemd-analyze verify --man=no --recursive-errors=no \
		"$T/rackfs.service" 2>&1)
	rc=$?
	if [ $rc = 0 ] && ! grep -q "rackfs.service" <<<"$out"; then
		ok "systemd-analyze verify"
	else
		not_ok "systemd-analyze verify gave $rc"
		note <<<"$out"
	fi
else
	echo "skip systemd-analyze verify: systemd-analyze is not here"
fi
if command -v man >/dev/null && command -v groff >/dev/null; then
	for page in "$usr"/share/man/man?/*; do
		is "$(basename "$page") is a man page without a warning" \
			"$(MANROFFSEQ='' man --warnings -l "$page" 2>&1 >/dev/null)" ""
	done
else
	echo "skip man pages: man or groff is not here"
fi
# shellcheck disable=SC2086
t "make uninstall" make -C "$ROOT" uninstall $to
is "leaves nothing" "$(find "$T/dest" -type f)" ""
