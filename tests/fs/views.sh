#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Files for other programs: inventory.json by Ansible, metrics.prom by promtool.
# A program that is missing skips its part, and says so.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 10ms
cd "$M" || exit 1
files="inventory.json metrics.prom"
has() { # has COMMAND PACKAGE
	command -v "$1" >/dev/null || {
		note <<<"skipped: what needs $1 (package $2)"
		return 1
	}
}

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

# --- as files: true sizes, times of the last change ---
for file in $files; do
	is "$file: a true size" "$(stat -c %s "$file")" "$(wc -c <"$file")"
	before=$(stat -c %y "$file")
	cat "$file" >/dev/null
	is "$file: a read is no change" "$(stat -c %y "$file")" "$before"
done

# --- none at all ---
echo down >state
settle >/dev/null
rmdir nodes/*
for file in $files; do t "$file of no node" test -s "$file"; done
if has ansible-inventory ansible-core; then
	is "an inventory of no node" \
		"$(inventory "$M/inventory.json" 2>&1 | jq -c ._meta)" \
		'{"hostvars":{}}'
fi
if has promtool prometheus; then
	is "metrics of no node" "$(checked 2>&1)" ""
fi
