#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Limits: too many temporary files and too big ones, names that nobody expects,
# a crowd of readers and watchers, writers that never end.  Others are not in
# the way of a spec, and what was refused leaves nothing.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms
cd "$M/nodes/node01" || exit 1
names=$(ls -A)

# --- temporary files: how many, how big ---
made=0
while [ $made -lt 64 ] && echo $made >"tmp$made"; do made=$((made + 1)); done
is "64 temporary files in a directory" $made 64
is "they hold what was written" "$(cat tmp0 tmp63)" $'0\n63'
refused "one more" ENOSPC create tmp64
refused "nor a link" ENOSPC symlink somewhere tmp64
refused "a node beside it has its own" OK create ../node02/tmp
rm ../node02/tmp
t "a spec can be written" tee spec <<<'{"cpus":2}'
t "a name can be changed" mv tmp0 tmp64
t "one takes the place of another" mv tmp64 tmp63
refused "then one more can be made" OK create tmp0
rm tmp*
is "all of them can go" "$(ls -A)" "$names"

big=$((4 << 20))
head -c $big /dev/urandom >"$T/big"
t "a temporary file of 4 MiB" cp "$T/big" big
t "byte for byte" cmp "$T/big" big
refused "a byte more" EFBIG append big <<<x
refused "by truncate" EFBIG truncate $((big + 1)) big
t "what was there stays" cmp "$T/big" big
refused "far away" EFBIG pwrite $((1 << 40)) big <<<x
said=$(mv big spec 2>&1)
is "over spec it is refused" $? 1
like "as what it is" "$said$(cat error)" 'large|refused: spec: .*1048576'
is "and spec stays" "$(cat spec)" '{"cpus":2}'
full=0
while [ $full -lt 64 ] && cp big "big$full" 2>"$T/said"; do full=$((full + 1)); done
like "all of them together have a limit" "$full $(cat "$T/said")" \
	'^[0-9]+ cp: .*No space left'
t "a spec can be written then" tee spec <<<'{"cpus":3}'
t "and by another directory" tee ../node02/spec <<<'{"cpus":3}'
rm big*
t "there is room again" cp "$T/big" big
rm big
is "nothing is left" "$(ls -A)" "$names"

# --- names ---
newline=$'spec\n.new'
latin=$'sp\xe9c'
long=$(printf 'n%.0s' {1..255})
listed() { # once, byte for byte
	local found count=0
	while IFS= read -rd '' found; do
		[ "$found" != "$1" ] || count=$((count + 1))
	done < <(find . -mindepth 1 -printf '%f\0')
	[ $count = 1 ]
}
cpus=10
for name in "$newline" "$latin" "$long" $'\e[31m' '-n' ' '; do
	cpus=$((cpus + 1))
	printf '{"cpus":%d}\n' $cpus >./"$name"
	what=$(printf '%q' "${name:0:20}")
	t "a temporary file $what is listed" listed "$name"
	t "$what: over spec" mv -- ./"$name" spec
	is "$what: in force" "$(json status.json .spec.cpus)" $cpus
done
refused "a name of 256" ENAMETOOLONG create "n$long"
for name in "$newline" "$latin" $'\e[31m'; do
	refused "no node may be called $(printf %q "$name")" EINVAL mkdir "../$name"
	is "error stays one line" "$(wc -l <"$M/error")" 1
	unlike "and shows no control character" "$(cat -v "$M/error")" '\^|M-'
done
refused "and so" OK mkdir ../node08
rmdir ../node08
t "events are whole lines of JSON" jq -e -n '[inputs.seq] | length > 3' "$M/events"

# --- where nothing belongs ---
for what in "mkdir x" "mkdir ../../x" "mkdir ../../wait/x" "mkdir ../node02/x" \
	"mkdir ../../networks/lan/x" "create ../x" "create ../../wait/x" \
	"create ../../networks/x" "symlink x ../../wait/x" "link spec other" \
	"link state ../other" "rename state other" "rename ../node01 ../node09" \
	"rename spec ../../wait/x" "unlink state" "unlink ../../wait/node01"; do
	# shellcheck disable=SC2086 # words
	refused "$what" EPERM $what
done
is "nothing of it is there" "$(ls -A)" "$names"

# --- writers that never end ---
python3 - <<'PY' &
import os, time
fds = [os.open("spec", os.O_WRONLY | os.O_TRUNC) for _ in range(100)]
for fd in fds:
    os.write(fd, b'{"memory":"9G",')
os.close(os.open(os.environ["T"] + "/hundred", os.O_CREAT))
time.sleep(300)
PY
writer=$!
eventually "a hundred unfinished documents" 20 test -e "$T/hundred"
for cpus in 4 5 6; do
	t "another one is written" tee spec <<<"{\"cpus\":$cpus}"
	is "and in force" "$(json status.json .spec.cpus)" $cpus
done
t "the same by a rename" sed -i s/6/7/ spec
is "what they began is nowhere" "$(cat spec)" '{"cpus":7}'
kill -KILL $writer
wait $writer 2>/dev/null
is "nor when they were killed" "$(cat spec)" '{"cpus":7}'
t "and another one is written" tee spec <<<'{"cpus":8}'
is "which is in force" "$(json status.json .spec.cpus)" 8

# --- a hundred readers that wait, some of which give up ---
echo '{"fake":{"delay":"1h"}}' >spec
echo up >state
readers=()
for i in {1..100}; do
	cat "$M/wait/all" >"$T/reader.$i" &
	readers+=($!)
done
echo up >../node02/state
is "who waits for another node is served" "$(settle node02)" up
# Until it is cat, a child of this shell may drop a signal as one with a trap.
all_read() {
	local pid name
	for pid in "${readers[@]}"; do
		read -r name <"/proc/$pid/comm" && [ "$name" = cat ] || return 1
	done
}
eventually "all of them read" 30 all_read
kill "${readers[@]:0:50}"
for pid in "${readers[@]:0:50}"; do wait "$pid"; done 2>/dev/null
t "all else works" timeout 20 grep -r --exclude-dir=wait -c up "$M"
echo down >state
for pid in "${readers[@]:50}"; do wait "$pid"; done
is "those that stayed hear it" "$(cat "$T"/reader.* | sort | uniq -c | tr -s ' ')" \
	" 50 $(cat "$M/state")"
echo '{}' >spec
echo down >"$M/state"
settle >/dev/null

# --- a thousand watches ---
python3 "$ROOT/tests/fs/watchers.py" "$M" >"$T/watchers"
is "a thousand watches are served" $? 0
note <"$T/watchers"
