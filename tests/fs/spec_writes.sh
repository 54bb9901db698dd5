#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every way to write a spec: `>`, `>>`, `: >`, pieces, cut-off documents, the
# section `disk`; whole or not at all; what is written is what is read.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms
cd "$M/nodes/node01" || exit 1

# --- replace ---
printf '{ "cpus":2,\n\n  "memory" : "1G" }\n' >"$T/doc"
t "a document is taken" cp "$T/doc" spec
t "and read back byte for byte" cmp "$T/doc" spec
is "defaults are in status.json" "$(json status.json .spec.boot.image)" netboot
is "st_size is true" "$(stat -c %s spec)" "$(wc -c <"$T/doc")"
echo '{"files":{"/etc/x":{"source":"sub/x"}}}' >spec
is "host paths are absolute in status.json" \
	"$(json status.json '.spec.files[].source')" "$(cat "$S/cwd")/sub/x"
is "and in spec as they were written" "$(json spec '.files[].source')" sub/x
for size in 1 7 4096; do
	refused "pieces of $size bytes" OK pieces $size spec <"$T/doc"
	t "arrive whole" cmp "$T/doc" spec
done
cat >spec <<'DOC'
{"memory":"2G"}
DOC
is "a here-document" "$(cat spec)" '{"memory":"2G"}'
t "tee" tee spec <"$T/doc" >/dev/null
t "dd, byte by byte" dd if="$T/doc" of=spec bs=1 status=none
t "dd with fsync" dd if="$T/doc" of=spec conv=fsync status=none
t "what they wrote" cmp "$T/doc" spec
{
	echo '{'
	/bin/echo '"cpus":'
	echo '3 }'
} >spec
is "several writers in one redirection" "$(tr -d ' \n' <spec)" '{"cpus":3}'
{ for _ in $(seq 300); do printf '%1000s' ''; done; cat "$T/doc"; } >"$T/long"
t "300 KB of it" cp "$T/long" spec
t "byte for byte" cmp "$T/long" spec

# --- patch (RFC 7396) ---
echo '{"cpus":2,"memory":"1G","nics":{"lan":{"link":"up"}}}' >spec
echo '{"memory":"2G"}' >>spec
is "a key is changed" "$(json spec '[.cpus,.memory]|tostring')" '[2,"2G"]'
echo '{"nics":{"lan":{"link":"down"}}}' >>spec
is "one deep inside" "$(json spec .nics.lan.link)" down
echo '{"memory":null}' >>spec
is "null removes" "$(json spec 'has("memory")')" false
echo '{"nics":{"lan":{"link":null}}}' >>spec
is "and the object stays" "$(json spec '.nics.lan|tostring')" '{}'
old=$(cat spec)
refused "a patch is checked" EINVAL append spec <<<'{"memory":"1"}'
is "and changes nothing when it is wrong" "$(cat spec)" "$old"
seq=$(tail -n 1 "$M/events")
echo '{"cpus":2}' >>spec
is "the same again is no change" "$(cat spec)" "$old"
is "and no event" "$(tail -n 1 "$M/events")" "$seq"

# --- nothing, or half ---
: >spec
is ": > changes nothing" "$(cat spec)" "$old"
t "truncate -s 0" truncate -s 0 spec
is "changes nothing" "$(cat spec)" "$old"
is "half a document" "$(call write spec <<<'{"cpus":')" close:EINVAL
is "changes nothing" "$(cat spec)" "$old"
like "error says that it is cut off" "$(cat error)" \
	'^refused: spec: line [0-9]+, column [0-9]+: .*cut off'
echo '{' >spec
is "a shell isn't told, but nothing is lost" "$(cat spec)" "$old"
like "and error tells" "$(cat error)" 'refused: spec: .*cut off'
echo '{"cpus":4}' >spec
is "the next accepted one takes the refusal away" "$(cat error)" ""
like "a refusal is an event too" "$(cat "$M/events")" 'node01.*cut off|refus'

# A writer who is killed in the middle.
exec 7>spec
printf '{"cpus":' >&7
is "while one writes, readers see the old" "$(cat spec)" '{"cpus":4}'
echo '{"cpus":5}' >spec
is "and others can write" "$(cat spec)" '{"cpus":5}'
exec 7>&-
is "half a document at the last close is dropped" "$(cat spec)" '{"cpus":5}'

# Wrong bytes poison what follows.
python3 - <<'PY'
import os
fd = os.open("spec", os.O_WRONLY | os.O_TRUNC)
try:
    os.write(fd, b'{"memory":"1"}')
except OSError:
    pass
try:
    os.write(fd, b'{"cpus":9}')
except OSError:
    pass
try:
    os.close(fd)
except OSError:
    pass
PY
is "nothing of a refused transaction comes in" "$(cat spec)" '{"cpus":5}'

# --- disk: a section ---
is "no disk reads null" "$(cat disk)" null
echo '{"size":"64M"}' >disk
is "a write to disk puts the section there" "$(json spec .disk.size)" 64M
is "the rest of spec stays" "$(json spec .cpus)" 5
echo '{"format":"raw"}' >>disk
is ">> patches the section" "$(json disk '[.size,.format]|tostring')" '["64M","raw"]'
refused "it is checked" EINVAL write disk <<<'{"size":"1K"}'
like "and named" "$(cat error)" '^refused: disk: .*disk\.size'
echo null >disk
is "null takes it away" "$(json spec 'has("disk")')" false
is "disk reads null again" "$(cat disk)" null

# --- what is there already ---
odd='{ "cpus" : 2,  "disk": {"size":"64M"} }'
echo "$odd" >spec
seq=$(tail -n 1 "$M/events")
echo '{"cpus":2}' >>spec
is "a patch that changes nothing leaves every byte" "$(cat spec)" "$odd"
cp disk "$T/disk" && cp "$T/disk" disk
is "so does the section that is there" "$(cat spec)" "$odd"
is "neither is an event" "$(tail -n 1 "$M/events")" "$seq"
echo '{"cpus":5}' >spec

# --- the other documents ---
cd "$M" || exit 1
like "hosts has the nodes' addresses" "$(cat hosts)" '^10\.36\.0\.11'
echo '{"subnet":"10.99.0.0/16"}' >networks/lan/spec
like "addresses follow the subnet" "$(cat hosts)" '^10\.99\.0\.11'
echo '{"name":"rack","defaults":{"driver":"fake","memory":"3G"}}' >spec
is "defaults reach nodes" "$(json nodes/node02/status.json .spec.memory)" 3G
is "and not their spec" "$(cat nodes/node02/spec)" "{}"
refused "defaults are checked" EINVAL write spec <<<'{"defaults":{"memory":"1"}}'
like "and named" "$(cat error)" '^refused: spec: defaults[.:] ?memory'
refused "and what only one node can have" EEXIST append spec \
	<<<'{"defaults":{"forwards":{"8080":80}}}'
like "with both nodes named" "$(cat error)" \
	'^refused: spec: defaults: node node02: forwards\.8080: .* taken by node01$'
mkdir images/disk
echo '{"kind":"disk","source":"/none.qcow2"}' >images/disk/spec
echo '{"disk":{"size":"1G"},"install":{"image":"disk"}}' >nodes/node03/spec
refused "an image is checked by who installs it" EINVAL write images/disk/spec \
	<<<'{"kind":"rootfs","source":"/none.tar"}'
like "and the node is named" "$(cat images/disk/error)" \
	'^refused: spec: node node03: disk\.partitions: '

# --- a restart of the daemon ---
mkdir nodes/new networks/new images/new
sums=$(cat spec nodes/*/spec networks/*/spec | md5sum)
times() { stat -c '%n %y' spec {nodes,networks,images}/*/spec nodes/*/disk; }
times >"$T/times"
stop_daemon
# shellcheck disable=SC2119
cd "$T" && start_daemon && cd "$M" || exit 1
is "what was written is there after a restart" \
	"$(cat spec nodes/*/spec networks/*/spec | md5sum)" "$sums"
is "with its time" "$(times | diff "$T/times" -)" ""
