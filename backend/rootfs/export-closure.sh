#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# export-closure.sh TOP FILE: writes a path of this host's nix store, with all
# that it refers to, to FILE as nix-store --export does.  The last line on
# stderr says what went wrong.  backend/drivers/image_closure.c runs it.
set -euo pipefail
export LC_ALL=C

die() {
	echo "$*" >&2
	exit 1
}

[ $# = 2 ] || die "usage: export-closure.sh TOP FILE"
command -v nix-store >/dev/null ||
	die "nix-store is not installed; give an export that was made where it" \
		"is: nix-store --export \$(nix-store -qR PATH) >FILE"
[ -e "$1/init" ] || [ -L "$1/init" ] ||
	die "it has no init: it is not the path of a whole system"
paths=$(nix-store --query --requisites "$1") ||
	die "it is not known to nix, with all that it needs"
missing=
while read -r path; do
	[ -e "$path" ] || [ -L "$path" ] || missing="$missing $path"
done <<<"$paths"
[ -z "$missing" ] ||
	die "paths of the closure are missing in the store:$missing; run:" \
		"nix-store --repair-path$missing"
# shellcheck disable=SC2086 # no path of a store has a blank
nix-store --export $paths >"$2" || die "nix-store --export failed for $1"
