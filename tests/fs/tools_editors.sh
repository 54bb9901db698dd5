#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Editors at a terminal, as a person uses them: each saves a good document, shows
# that a bad one is refused, and saves again once it is mended.
# shellcheck source=tests/fs/tools_lib.sh
. "$ROOT/tests/fs/tools_lib.sh"
# shellcheck source=tests/fs/screen.sh
. "$ROOT/tests/fs/screen.sh"
need tmux tmux
need vim vim
need nano nano
need emacs-nox emacs
tools_begin

# --- what a person does in each: edit, save, and what is to be seen then ---

vim_open() {
	screen_start vim -u "$T/vimrc" -N spec && screen_shows '"spec" [0-9]+L'
}
vim_replace() { keys -l ":%s/$1/$2/" && keys Enter; }
vim_save() {
	keys -l ':w' && keys Enter && vim_answers || return
	screen
	! screen_has 'E[0-9]+:'
}
# After a refusal vim has put the old one back itself, by a write when backupcopy
# is yes, and asks.
vim_answers() {
	screen_shows 'written|E[0-9]+:|\(y/n\)' || return
	! screen_has '\(y/n\)' || {
		asked=$((asked + 1))
		keys y && screen_shows 'written|E[0-9]+:'
	}
}
asked=0
vim_quit() { keys Escape && keys -l ':q!' && keys Enter && screen_end; }

ex_open() {
	screen_start ex -u NONE spec && screen_shows 'Entering Ex mode'
}
ex_replace() { keys -l "%s/$1/$2/" && keys Enter; }
ex_save() {
	keys -R # ex scrolls: only the answer to this is to be seen
	keys -l 'w' && keys Enter && screen_shows 'written|E[0-9]+:' || return
	screen
	! screen_has 'E[0-9]+:'
}
ex_quit() { keys -l 'q!' && keys Enter && screen_end; }

nano_open() {
	screen_start nano --ignorercfiles spec && screen_shows 'Read [0-9]+ lines'
}
nano_replace() {
	keys M-R && screen_shows '^Search .to replace' &&
		keys -l "$1" && keys Enter && screen_shows '^Replace with' &&
		{ [ -z "$2" ] || keys -l "$2"; } && keys Enter &&
		screen_shows 'Replace this instance' && keys y &&
		screen_shows 'Replaced 1 occurrence'
}
nano_save() {
	keys C-o && screen_shows '^File Name to Write' && keys Enter &&
		screen_shows '\[ (Wrote|Error)' || return
	screen
	screen_has '\[ Wrote'
}
nano_quit() {
	keys C-x && until_true 20 nano_over && screen_end
}
nano_over() {
	! screen_has '^Save modified' || keys n
	[ -s "$T/screen.rc" ]
}

emacs_open() {
	screen_start emacs -nw -q -l "$T/emacs.el" spec && screen_shows 'F1  spec'
}
emacs_replace() {
	keys 'M-<' M-x && keys -l replace-string && keys Enter &&
		screen_shows '^Replace string' && keys -l "$1" && keys Enter &&
		screen_shows '^Replace string .* with' &&
		{ [ -z "$2" ] || keys -l "$2"; } && keys Enter &&
		screen_shows 'Replaced 1 occurrence'
}
emacs_save() {
	keys C-x C-s && screen_shows '^Wrote|nvalid arg|rror' || return
	screen
	screen_has '^Wrote'
}
emacs_quit() {
	keys C-x C-c && until_true 20 emacs_over && screen_end
}
emacs_over() {
	! screen_has '^Save file' || keys n
	! screen_has '^Modified buffers exist' || { keys -l yes && keys Enter; }
	[ -s "$T/screen.rc" ]
}

# All of them wait for the screen, with limits of their own.
run_tool() { "$@"; }

# edit EDITOR: one sitting for one change.
edit() {
	local editor=$1 rc
	"${editor}_open" && "${editor}_replace" "$FROM" "$TO" || return
	"${editor}_save"
	rc=$?
	"${editor}_quit" && return $rc
}

# sitting NAME EDITOR: a mistake is made, shown, mended, and more is done.
sitting() {
	local name=$1 editor=$2 old
	old=$(memory)
	"${editor}_open" || not_ok "$name does not open"
	"${editor}_replace" "$old" 1
	fails "$name, one sitting: a mistake is shown" "${editor}_save"
	t "$name, one sitting: and told" refusal_stays "$WRONG"
	good_doc
	"${editor}_replace" '"1"' "\"${memory}M\""
	t "$name, one sitting: mended, it saves" "${editor}_save"
	t "$name, one sitting: mended, it is in force" cmp "$T/doc" spec
	old=${memory}M
	good_doc
	"${editor}_replace" "$old" ${memory}M
	t "$name, one sitting: and saves again" "${editor}_save"
	"${editor}_quit" || not_ok "$name does not end"
	t "$name, one sitting: all of it is in force" in_force
}

# Another daemon comes while a document is in an editor: it is not asked about.
over_death() { # over_death NAME EDITOR
	local old
	good_doc
	"${2}_open" || not_ok "$1 does not open"
	"${2}_replace" "$FROM" "$TO" || not_ok "$1 does not edit"
	old=$(cat "$R/daemon.pid")
	kill -KILL "$old"
	until_true 30 another_daemon "$old"
	asked=0
	if ! "${2}_save" >"$T/said"; then
		not_ok "$1, over the daemon's death: it does not save"
		note <"$T/said"
	fi
	is "$1, over the daemon's death: it has no question" $asked 0
	"${2}_quit" || not_ok "$1 does not end"
	t "$1, over the daemon's death: in force" cmp "$T/doc" spec
}
another_daemon() { [ "$(cat "$R/daemon.pid")" != "$1" ]; }

# editor NAME EDITOR WRONG CUT: as tool().
editor() {
	tool "$1" "$3" "$4" edit "$2"
	sitting "$1" "$2"
}

# --- nano ---
editor nano nano 'Error writing spec: Invalid argument' \
	'Error writing spec: Invalid argument'
over_death nano nano

# --- vim ---
vim_says='E512: Close failed|E514: write error|E667: Fsync failed'
vim_with() { # vim_with NAME OPTIONS
	echo "set $2" >"$T/vimrc"
	editor "$1" vim "$vim_says" "$vim_says"
}
vim_with "vim without backup" 'nobackup nowritebackup noswapfile'
vim_with "vim as it comes" 'swapfile directory=. updatecount=1'
over_death vim vim
LEFT='spec~'
for way in yes no auto; do
	UNDONE=
	[ $way != yes ] || UNDONE=by-a-write
	vim_with "vim, backup, backupcopy=$way" \
		"backup backupskip= backupdir=. backupcopy=$way swapfile directory=."
	t "vim, backup, backupcopy=$way: it is the one before" \
		grep -q "$((memory - 1))M" spec~
	t "vim, backup, backupcopy=$way: it can go" rm spec~
done
LEFT='' UNDONE=''
vim_open
vim_replace 2 3
eventually "a swap file is listed while vim edits" 10 test -e .spec.swp
vim_quit
t "and no more when it has ended" nothing_left

# --- emacs (it locks by a symbolic link) ---
emacs_says='Invalid argument'
echo "(setq make-backup-files nil)" >"$T/emacs.el"
LEFT='*spec[#~]' # a backup, and what was not saved at the end
editor "emacs without backup" emacs "$emacs_says" "$emacs_says"
over_death emacs emacs
# Below /tmp it makes none by itself.
for way in nil t; do
	echo "(setq backup-enable-predicate 'identity
		backup-by-copying $way)" >"$T/emacs.el"
	editor "emacs, backup-by-copying $way" emacs "$emacs_says" "$emacs_says"
	t "emacs, backup-by-copying $way: it can go" rm spec~
done
t "and so can what was not saved" rm ./*spec#
LEFT=

# --- ex ---
editor ex ex "$vim_says" "$vim_says"

# --- from a script ---
run_tool() { timeout "$LIMIT" "$@"; }
cat >"$T/ed_s" <<'SH'
printf '%s\n' "%s/$FROM/$TO/" w q | ed spec
SH
tool ed 'spec: Invalid argument' 'spec: Invalid argument' sh "$T/ed_s"
cat >"$T/ex_s" <<'SH'
printf '%s\n' "%s/$FROM/$TO/" w q | ex -s -u NONE spec
SH
tool "ex -s" rc rc sh "$T/ex_s"
cat >"$T/vim_es" <<'SH'
exec vim -es -u NONE -c "%s/$FROM/$TO/" -c wq -c cquit spec
SH
tool "vim -es" rc rc sh "$T/vim_es"
