#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Requests that a daemon has served and not answered when it was killed: the
# next one serves them again, and nothing is done twice.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
gate_start
echo '{"defaults":{"driver":"fake","fake":{"delay":"5ms"}}}' >"$M/spec"
mkdir "$M"/nodes/node0{1,2}
timeout 200 python3 "$ROOT/tests/fs/twice.py" "$M" "$R" "$GATE" ||
	bad=$((bad + 1))
