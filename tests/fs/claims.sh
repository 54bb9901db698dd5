#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every row of docs/FILES.md: modes, who may open it, the inotify events and
# poll bits of each file are what the page says.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
timeout 180 python3 "$ROOT/tests/fs/claims.py" "$M" "$ROOT/docs/FILES.md" ||
	bad=$((bad + 1))
