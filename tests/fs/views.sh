#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Files for other programs: inventory.json by Ansible, metrics.prom by promtool,
# topology.svg and timeline.svg drawn by librsvg.  A program that is missing
# skips its part, and says so.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
cd "$M" || exit 1
files="inventory.json metrics.prom topology.svg timeline.svg"
has() { # has COMMAND PACKAGE
	command -v "$1" >/dev/null || {
		note <<<"skipped: what needs $1 (package $2)"
		return 1
	}
}

draw() { # draw WHAT: both drawings
	local file
	for file in topology timeline; do
		cp $file.svg "$T/$1-$file.svg"
		t "$file.svg of $1 is drawn" timeout 60 rsvg-convert -w 300 \
			--keep-aspect-ratio -o "$T/$1-$file.png" "$T/$1-$file.svg"
		t "... labels stand apart, something is there" timeout 60 python3 \
			"$ROOT/tests/fs/svg.py" "$T/$1-$file.svg" "$T/$1-$file.png"
	done
}
drawn() { # drawn FILE ELEMENT...: an XML tree has texts that contain these
	python3 - "$@" <<'PY'
import sys
import xml.etree.ElementTree as tree
texts = [e.text or "" for e in tree.parse(sys.argv[1]).iter()]
sys.exit(" ".join(w for w in sys.argv[2:] if not any(w in t for t in texts)) or None)
PY
}
can_draw=
has rsvg-convert librsvg2-bin &&
	[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf ] && can_draw=1

# --- a cluster with something to tell ---
mkdir networks/storage-a
echo '{"nics":{"lan":{},"storage-a":{},"more":{"network":"lan","address":"10.36.0.77","link":"down"}}}' \
	>nodes/node02/spec || not_ok "a spec with two networks: $(cat nodes/node02/error)"
echo up >state
is "all are up" "$(settle)" up
echo down >nodes/node03/state
settle node03 >/dev/null

# --- the inventory ---
inventory() { timeout 60 ansible-inventory -i "$1" --list; }
if has ansible-inventory ansible-core; then
	export ANSIBLE_HOME=$T/ansible ANSIBLE_LOCALHOST_WARNING=False
	cp inventory.json "$T/inventory.json"
	inventory "$M/inventory.json" >"$T/list" 2>"$T/list.err"
	is "Ansible has nothing to say against it" "$(cat "$T/list.err")" ""
	is "its hosts" "$(json "$T/list" '._meta.hostvars | keys | join(" ")')" \
		"node01 node02 node03"
	is "its groups" "$(json "$T/list" 'keys | join(" ")')" \
		"_meta all network_lan network_storage_a state_down state_up"
	is "who is on a network" "$(json "$T/list" \
		'.network_lan.hosts, .network_storage_a.hosts | join(" ")')" \
		$'node01 node02 node03\nnode02'
	is "who is up" "$(json "$T/list" '.state_up.hosts | join(" ")')" \
		"node01 node02"
	is "ports are those of ssh_config" \
		"$(json "$T/list" '._meta.hostvars[].ansible_port')" \
		"$(awk '$1 == "Port" { print $2 }' ssh_config)"
	is "users" "$(json "$T/list" '._meta.hostvars[].ansible_user')" \
		"$(awk '$1 == "User" { print $2 }' ssh_config)"
	is "addresses" \
		"$(json "$T/list" '._meta.hostvars[].rackfs_addresses.lan')" \
		"$(awk '{ print $1 }' hosts)"
	t "the key is there" test -f "$(json "$T/list" \
		'._meta.hostvars.node01.ansible_ssh_private_key_file')"
	# What Ansible hands to ssh, as ssh understands it.
	json "$T/list" '._meta.hostvars.node02.ansible_ssh_common_args' >"$T/args"
	python3 -c 'import shlex, sys
print("\0".join(shlex.split(sys.stdin.read())), end="\0")' <"$T/args" |
		xargs -0 ssh -T -G node02 >"$T/ssh"
	like "ssh knows the host keys" "$(cat "$T/ssh")" \
		"^userknownhostsfile $(ssh -T -G -F ssh_config node02 |
			sed -n 's/^userknownhostsfile //p')\$"
	like "... by the name" "$(cat "$T/ssh")" '^hostkeyalias node02$'
	like "... and no other" "$(cat "$T/ssh")" '^stricthostkeychecking true$'
fi

# --- metrics ---
value() { # value METRIC{LABELS}
	awk -v m="$1" '$1 == m { print $2 }' metrics.prom
}
checked() { timeout 60 promtool check metrics <metrics.prom; }
if has promtool prometheus; then
	is "promtool has nothing to say against it" "$(checked 2>&1)" ""
fi
is "nodes up" "$(value 'rackfs_nodes{state="up"}')" 2
is "nodes failed" "$(value 'rackfs_nodes{state="failed"}')" 0
is "a state" "$(value 'rackfs_node_state{node="node03",state="down"}')" 1
is "settled" "$(value rackfs_settled)" 1
is "boots" "$(value 'rackfs_node_boots_total{node="node01"}')" 1
echo reboot >nodes/node01/state
settle node01 >/dev/null
is "boots after another" "$(value 'rackfs_node_boots_total{node="node01"}')" 2
like "a stage took what the driver was told" \
	"$(value 'rackfs_node_stage_duration_seconds{node="node02",stage="machine"}')" \
	'^0\.0[1-9]|^0\.[1-9]|^[1-9]'
is "events are counted" "$(value rackfs_events_total)" \
	"$(tail -n 1 events | jq .seq)"
memory=$(value process_resident_memory_bytes)
pages=$(awk '{ print $2 }' "/proc/$(cat "$R/daemon.pid")/statm")
is "memory is the daemon's (within a fifth)" "$(awk -v a="$memory" \
	-v b="$((pages * $(getconf PAGESIZE)))" \
	'BEGIN { print (a > b * 0.8 && a < b * 1.2) }')" 1

# --- a timeline outlives the daemon ---
cp timeline.svg "$T/before.svg"
cp nodes/node02/progress "$T/progress"
cd "$T" || exit 1
stop_daemon
# shellcheck disable=SC2119
start_daemon
cd "$M" || exit 1
settle >/dev/null
t "the timeline is that of before" cmp timeline.svg "$T/before.svg"
t "and the progress of a node" cmp nodes/node02/progress "$T/progress"

# --- drawings ---
if [ $can_draw ]; then
	draw three
	t "nodes, networks, addresses" drawn topology.svg node01 node02 node03 \
		storage-a "lan 10.36.0.11/24" "more 10.36.0.77/24" "2 up" "1 down"
	t "a link that is down" grep -q "stroke-dasharray='5 3'/>\$" topology.svg
	t "stages and their time" drawn timeline.svg machine boot ssh "up in "
	long=$(printf 'n%.0s' {1..63})
	mkdir "networks/$long" "nodes/$long"
	for i in {1..33}; do mkdir "networks/net$i"; done
	nics=$(printf '"nic%s":{"network":"net%s"},' 1 1 2 2 3 3 4 4 5 31 6 32 7 33)
	echo "{\"nics\":{$nics\"x\":{\"network\":\"$long\"}},
		\"fake\":{\"fail\":[\"machine\"],\"fail_times\":99}}" >"nodes/$long/spec"
	echo '{"fake":{"delay":"60s"}}' >nodes/node03/spec
	echo up >"nodes/$long/state"
	settle "$long" >/dev/null 2>&1
	echo up >nodes/node03/state
	draw odd
	t "what failed" drawn timeline.svg failed
	t "what runs" drawn timeline.svg "machine runs"
	t "networks that are too many" drawn topology.svg "and 4 more networks" \
		"nic7 on net33"
	cp timeline.svg "$T/early"
	before=$(stat -c %y timeline.svg)
	until_true 2 false
	t "the drawing is as of the last change" cmp timeline.svg "$T/early"
	is "and so is its time" "$(stat -c %y timeline.svg)" "$before"
	echo off >state
	echo '{}' >nodes/node03/spec
	settle >/dev/null 2>&1
	rmdir "nodes/$long" "networks/$long" networks/net*
fi

# --- as files: true sizes, times of the last change ---
for file in $files; do
	is "$file: a true size" "$(stat -c %s "$file")" "$(wc -c <"$file")"
	before=$(stat -c %y "$file")
	cat "$file" >/dev/null
	is "$file: a read is no change" "$(stat -c %y "$file")" "$before"
done

# --- a crowd, until the network is full ---
crowd=$(python3 -c 'import itertools, os
for i in itertools.count(1):
    try:
        os.mkdir(f"nodes/x{i:03}")
    except OSError as e:
        print(i - 1, e.errno)
        break')
like "a network takes so many" "$crowd" '^2[0-9][0-9] 28$'
is "one that was refused is not counted" "$(value 'rackfs_nodes{state="down"}')" \
	$((${crowd% *} + 3))
echo up >state
settle all 60 >/dev/null
if [ $can_draw ]; then
	draw crowd
	t "a square for each" drawn topology.svg "$((${crowd% *} + 2)) nodes"
fi
if has promtool prometheus; then is "metrics of all" "$(checked 2>&1)" ""; fi

# --- none at all ---
echo down >state
settle >/dev/null
rmdir nodes/*
for file in $files; do t "$file of no node" test -s "$file"; done
[ ! $can_draw ] || draw nothing
if has ansible-inventory ansible-core; then
	is "an inventory of no node" \
		"$(inventory "$M/inventory.json" 2>&1 | jq -c ._meta)" \
		'{"hostvars":{}}'
fi
if has promtool prometheus; then
	is "metrics of no node" "$(checked 2>&1)" ""
fi
