#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Tools that put another file in the place of spec: by a rename over it, or by
# taking the name away and making it anew.
# shellcheck source=tests/fs/tools_lib.sh
. "$ROOT/tests/fs/tools_lib.sh"
need patch patch
need perl perl
tools_begin

# --- the name goes and comes ---
mv_from_elsewhere() { cp "$1" "$T/new" && mv "$T/new" spec; }
tool "mv from elsewhere" 'Invalid argument' 'Invalid argument' mv_from_elsewhere
install_to() { install "$1" spec; }
tool install 'Invalid argument' 'Invalid argument' install_to
install_m() { install -m 600 "$1" spec; }
tool "install -m" 'Invalid argument' 'Invalid argument' install_m
install_p() { install -p "$1" spec; }
tool "install -p" 'Invalid argument' 'Invalid argument' install_p
cp_remove() { cp --remove-destination "$1" spec; }
tool "cp --remove-destination" 'Invalid argument' 'Invalid argument' cp_remove
cp_p() { chmod 600 "$1" && cp -p "$1" spec; }
tool "cp -p" 'Invalid argument' 'Invalid argument' cp_p
t "rm" rm spec
eventually "the name comes back by itself" 10 cmp -s "$T/doc" spec
t "as it was" in_force

# --- a rename over it ---
mv_beside() {
	cp "$1" new
	mv new spec || {
		rm new
		return 1
	}
}
# mv knows one reason for EINVAL here, and names that.
tool "mv from beside it" "cannot move 'new'" "cannot move 'new'" mv_beside
sed_i() { sed -i "s/$FROM/$TO/" spec; }
tool "sed -i" 'Invalid argument' 'Invalid argument' sed_i
perl_pi() { perl -pi -e "s/\Q$FROM/$TO/" spec; }
tool "perl -pi" 'Invalid argument' 'Invalid argument' perl_pi
patch_it() {
	diff -u spec "$1" >"$T/patch"
	patch -s spec "$T/patch"
}
tool patch 'Invalid argument' 'Invalid argument' patch_it

# --- the same, and the old one is kept beside it ---
LEFT=spec.bak
sed_i_bak() { sed -i.bak "s/$FROM/$TO/" spec; }
tool "sed -i.bak" 'Invalid argument' 'Invalid argument' sed_i_bak
t "the backup of sed" rm spec.bak
perl_pi_bak() { perl -pi.bak -e "s/\Q$FROM/$TO/" spec; }
tool "perl -pi.bak" 'Invalid argument' 'Invalid argument' perl_pi_bak
t "the backup of perl" rm spec.bak
