#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Temporary files of tools, by system calls: made, changed, moved, put in place
# of a document; names that are gone for a moment; limits; all of it while the
# daemon is killed.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
timeout 200 python3 "$ROOT/tests/fs/scratch.py" "$M" "$R" || bad=$((bad + 1))
