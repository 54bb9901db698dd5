#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# poll, epoll (level and edge) and select: texts tell changes as sysfs
# attributes do, growing files tell that there is more, wait/ that it would not
# block; O_NONBLOCK; handles that are closed or whose daemon died.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
timeout 120 python3 "$ROOT/tests/fs/poll.py" "$M" "$R" || bad=$((bad + 1))
