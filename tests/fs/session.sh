#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A user's session with three fake nodes: up, down, wait, verbs, status.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 20ms
cd "$M" || exit 1

is "an empty node is down" "$(cat nodes/node01/state)" down
is "and so is the cluster" "$(cat state)" down
is "wait gives down when nothing is wanted" "$(settle node01)" down
is "a new spec reads {}" "$(cat nodes/node01/spec)" "{}"

# --- up ---
echo up >state
unlike "after up, no read gives down" "$(cat nodes/*/state)" down
is "wait/all ends when all are up" "$(settle)" up
is "the cluster is up" "$(cat state)" up
for n in node01 node02 node03; do
	is "$n is up" "$(cat nodes/$n/state)" up
	is "$n's wait says so" "$(settle $n)" up
done
is "status has a line for each node" "$(grep -c '^node0' status)" 3
like "status is aligned and has states" "$(cat status)" '^node01 +.*up'
is "status.json is one document with three nodes" \
	"$(json status.json '.nodes | length')" 3
is "a node's status.json knows its state" \
	"$(json nodes/node01/status.json .state)" up
is "and what is wanted" "$(json nodes/node01/status.json .power)" up
like "progress shows stages with their time" "$(cat nodes/node01/progress)" \
	'^boot +done +[0-9.]+s'
unlike "but not those that the spec does not ask for" \
	"$(cat nodes/node01/progress)" '^(partition|install)'
is "no node has an error" "$(cat error nodes/*/error)" ""

# --- one of them ---
echo down >nodes/node02/state
unlike "after down, no read gives up" "$(cat nodes/node02/state)" up
is "down ends in down" "$(settle node02)" down
is "the others stay up" "$(cat nodes/node0[13]/state | sort -u)" up
echo up >nodes/node02/state
is "and up again" "$(settle node02)" up

# --- verbs ---
launch() { json nodes/node01/status.json .machine.launch; }
before=$(launch)
echo up >nodes/node01/state
settle node01 >/dev/null
is "up twice is done once" "$(launch)" "$before"
echo reboot >nodes/node01/state
is "reboot ends in up" "$(settle node01)" up
is "in another run" "$(launch)" $((before + 1))
echo reset >nodes/node01/state
is "reset ends in up" "$(settle node01)" up
is "in yet another run" "$(launch)" $((before + 2))
printf up | t "a verb needs no newline" tee nodes/node01/state
echo off >nodes/node03/state
is "off ends in down" "$(settle node03)" down
refused "an unknown verb" EINVAL put nodes/node01/state <<<"sideways"
like "error lists the verbs" "$(cat nodes/node01/error)" \
	'^refused: state: .*up.*down.*off.*reboot'
refused "an accepted verb" OK put nodes/node01/state <<<"up"
is "takes the refusal away" "$(cat nodes/node01/error)" ""
refused "two verbs in one write" EINVAL put nodes/node01/state <<<"up down"
refused "no verb" EINVAL put nodes/node01/state <<<""
refused "wipe of a running node" EBUSY put nodes/node01/state <<<"wipe"
refused "the cluster takes down" OK put state <<<"down"
is "all go down" "$(settle)" down
is "everywhere" "$(cat nodes/*/state | sort -u)" down
refused "the cluster does not take wipe" EINVAL put state <<<"wipe"

# --- a disk on a fake node ---
echo '{"disk":{"size":"64M","partitions":[{"name":"a","size":"100%",
	"filesystem":"ext4","label":"a","mount":"/"}]}}' >>nodes/node02/spec
echo up >nodes/node02/state
is "a node with a disk comes up" "$(settle node02)" up
like "and was partitioned" "$(cat nodes/node02/progress)" '^partition +done'
echo down >nodes/node02/state
settle node02 >/dev/null
refused "rmdir keeps a disk that holds data" ENOTEMPTY rmdir nodes/node02
refused "wipe empties it" OK put nodes/node02/state <<<"wipe"
is "wipe ends in down" "$(settle node02)" down
refused "and then rmdir takes the node" OK rmdir nodes/node02
fails "it is gone" test -e nodes/node02
unlike "from status as well" "$(cat status)" node02
unlike "and from hosts" "$(cat hosts)" node02

# --- names ---
like "hosts has both names" "$(cat hosts)" \
	'^10\.36\.0\.11[ 	]+node01\.cluster\.internal[ 	]+node01|^10\.36\.0\.11[ 	]+node01[ 	]+node01\.cluster\.internal'
like "ssh_config has the first port" "$(cat ssh_config)" 'Port 2201'
t "ssh takes the configuration" ssh -G -F ssh_config node01

# Names that change without a pause don't keep a key from those who need it.
ssh-keygen -q -t ed25519 -N '' -f "$S/nodes/node03/host_key"
echo '{"driver":"qemu"}' >nodes/node03/spec
keys=$(ssh -G -F ssh_config node03 | sed -n 's/^userknownhostsfile //p')
t "host keys are written while names come and go" timeout 60 python3 -c '
import os, sys, time
end = time.monotonic() + 20
while "node03," not in open(sys.argv[1]).read():
    if time.monotonic() > end:
        sys.exit("no key of node03")
    os.mkdir("nodes/more")
    os.rmdir("nodes/more")' "$keys"
