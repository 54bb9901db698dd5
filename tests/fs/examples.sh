#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every example loads: its script is run against fake nodes.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
for script in "$ROOT"/examples/*/up.sh; do
	name=$(basename "$(dirname "$script")")
	unlike "$name: nothing but mkdir, cp, echo, cat" "$(sed -e '/^#/d' \
		-e 's/^set -eu$//' -e 's/^[a-z]*=\${.*}$//' "$script")" \
		'^[[:space:]]*[^[:space:]mce]'
	like "$name: has a README" "$(head -n 1 "${script%/*}/README.md")" '^# '
	# Where rackfs is started: paths in specs are relative to it.
	mkdir -p "$T/examples"
	cp -r "${script%/*}" "$T/examples/$name"
	[ ! -f "${script%/*}/Makefile" ] ||
		t "$name: it is made" make -s -C "$T/examples/$name"
	jq '.defaults.driver = "fake"' "${script%/*}/cluster.spec" \
		>"$T/examples/$name/cluster.spec"
	is "$name: every host file that a spec names is there" \
		"$(jq -r '.. | .source? // empty' "${script%/*}"/*.spec |
		while read -r path; do
			[ -e "$T/$path" ] || echo "$path"
		done)" ""
	S=$T/$name.s R=$T/$name.r
	# shellcheck disable=SC2119
	start_daemon
	is "$name: ends with up" "$(timeout 60 "$T/examples/$name/up.sh" "$M")" up
	is "$name: no error" "$(cat "$M"/error "$M"/*/*/error)" ""
	is "$name: a second time it changes nothing" \
		"$(seq=$(tail -n 1 "$M/events" | jq .seq)
		timeout 60 "$T/examples/$name/up.sh" "$M" >/dev/null
		jq -c "select(.seq > $seq and .change != \"verb\" and
			.change != \"check\")" "$M/events")" ""
	stop_daemon
done
