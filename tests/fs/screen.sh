# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A terminal for tests of interactive programs (tmux, so that what is looked at
# is what a person would see).  lib.sh comes first.

mux() { tmux -S "$T/tmux" "$@" 2>/dev/null; }
screen() { mux capture-pane -p -t t | grep -v '^$'; }
# Keys as tmux names them (Enter, C-x, M-x); -l: letters only.
keys() { mux send-keys -t t "$@"; }

# screen_start COMMAND...: words without quotes.
screen_start() {
	mux kill-server
	rm -f "$T/screen.rc"
	mux -f /dev/null new-session -d -s t -x 100 -y 24 "$*; echo \$? >$T/screen.rc"
}
screen_end() { until_true "${LIMIT:-30}" test -s "$T/screen.rc"; }
screen_has() { screen | grep -qE -- "$1"; }
# screen_shows REGEX: waits until it does.
screen_shows() {
	until_true "${LIMIT:-30}" screen_has "$1" && return
	echo "the screen does not show /$1/ but:"
	screen
	return 1
}
export -f mux screen keys screen_start screen_end screen_has screen_shows
export -f until_true

at_end() { mux kill-server; }
