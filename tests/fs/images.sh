#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Root file systems from tars of the user's: what is right becomes ready; what
# is wrong is told in `error` and leaves nothing in the cache, and mending it
# is enough.  The node that asks for them is real and ends before its machine
# runs.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
for program in zstd xz jq python3; do
	command -v $program >/dev/null || skip "$program is not here"
done
# shellcheck disable=SC2119
start_daemon
cd "$M" || exit 1

# --- who asks for the image ------------------------------------------------------

echo kernel >"$T/kernel"
mkdir images/system nodes/node01
echo '{"kind":"netboot","kernel":"kernel","initrd":"kernel"}' \
	>images/netboot/spec
echo '{"kind":"rootfs","source":"none"}' >images/system/spec
cat >nodes/node01/spec <<-'JSON'
	{"nics":{},
	"disk":{"size":"64M","partitions":[
		{"size":"100%","filesystem":"ext4","mount":"/"}]},
	"install":{"image":"system"},
	"qemu":{"args":["-no-such-option"]}}
JSON
system=images/system
refused "a node can't boot what is installed" EINVAL append nodes/node01/spec \
	<<<'{"boot":{"image":"system"}}'
like "it is told" "$(cat nodes/node01/error)" \
	'^refused: spec: boot.image: image system is of kind rootfs'
refused "nor may an image that nodes boot become such" EINVAL \
	write images/netboot/spec <<<'{"kind":"rootfs","source":"none"}'
like "the node is named" "$(cat images/netboot/error)" \
	'^refused: spec: node node01: boot.image: '
# With a working directory of its own: find opens that, also while no daemon
# answers.
cached() { (cd "$S/cache" && find . -mindepth 1 -maxdepth 1 | sed 's|.*/||'); }
nothing_cached() { [ -z "$(cached)" ]; }
# source FILE [SHA256]: the spec, written anew.
source_is() {
	jq -n --arg source "$1" --arg sha256 "${2-}" '{kind: "rootfs",
		source: $source} + if $sha256 == "" then {} else {sha256: $sha256} end' \
		>$system/spec || not_ok "the spec is taken: $(cat $system/error)"
	asked
}
# What failed later than its images does not ask for them any more.
asked() {
	! grep -q '^failed: machine' nodes/node01/error ||
		echo up >nodes/node01/state
}
made() { # made WHAT [SECONDS]
	if until_true "${2:-30}" reads $system/state ready; then
		ok "$1"
	else
		not_ok "$1: $(cat $system/{state,error})"
	fi
	is "... no error is left" "$(cat $system/error)" ""
}
# The node fails, says why, and nothing is left.
told() { # told WHAT SENTENCE (regex)
	fails "$1" settle node01
	is "... the image has failed" "$(cat $system/state)" failed
	like "... says the image" "$(cat $system/error)" "^failed: $2"
	like "... and the node" "$(cat nodes/node01/error)" \
		"^failed: image: image system: $2"
	is "... and nothing of it is in the cache" "$(cached)" ""
}
empty_cache() { rm -rf "$S"/cache/rootfs-*; }

# --- sources -----------------------------------------------------------------------

mkdir -p "$T/tree/usr/sbin" "$T/tree/etc"
ln -s usr/sbin "$T/tree/sbin"
ln -s /proc/mounts "$T/tree/etc/mtab"
echo '#!/bin/sh' >"$T/tree/usr/sbin/init"
head -c 3M /dev/urandom >"$T/tree/usr/data"
tar -C "$T/tree" -cf "$T/good.tar" .
zstd -q "$T/good.tar"
xz -0k "$T/good.tar"
sum() { sha256sum <"$1" | cut -c1-64; }
zero=$(printf '0%.0s' {1..64})

# Our own netboot image was looked for as the daemon started.
until_true 20 nothing_cached
echo up >nodes/node01/state
told "a source that is not there" "source: there is no $T/none; put it there, or"

for file in good.tar good.tar.zst good.tar.xz; do
	right=$(sum "$T/$file")
	source_is "$file" "$zero"
	told "$file: another sha256" \
		"$T/$file has the sha256 $right, .* wants $zero: .*; put the right"
	# A changed spec is enough: the node that failed for it goes on.
	source_is "$file" "$right"
	made "$file: its own"
	is "... is all that is in the cache" \
		"$(cached | sed 's/-.*//' | tr '\n' ' ')" "rootfs "
	is "... whole" "$(tar -xOf "$S"/cache/rootfs-*/rootfs.tar ./usr/data \
		usr/data 2>/dev/null | sha256sum)" \
		"$(sha256sum <"$T/tree/usr/data")"
	fails "... and the machine is next" settle node01
	like "... which is not this test's" "$(cat nodes/node01/error)" \
		'^failed: machine: '
	empty_cache
done

# --- tars that are none, or escape ---------------------------------------------------

python3 - "$T" <<'PYTHON'
import io, sys, tarfile
def make(name, *entries):
    with tarfile.open(sys.argv[1] + "/" + name, "w") as t:
        for path, kind, target in entries + (("sbin/init", b"0", ""),):
            e = tarfile.TarInfo(path)
            e.type, e.linkname, e.size = kind, target, 0 if kind != b"0" else 2
            t.addfile(e, io.BytesIO(b"x\n"))
make("dots.tar", ("../out", b"0", ""))
make("deep.tar", ("etc/../../out", b"0", ""))
make("absolute.tar", ("/etc/out", b"0", ""))
make("link.tar", ("var", b"2", "/etc"), ("var/out", b"0", ""))
make("up.tar", ("var", b"2", "../.."), ("var/out", b"0", ""))
make("hard.tar", ("shadow", b"1", "/etc/shadow"))
PYTHON
head -c 1M "$T/good.tar" >"$T/cut.tar"
head -c 1M "$T/good.tar.zst" >"$T/cut.tar.zst"
head -c 1M "$T/good.tar.xz" >"$T/cut.tar.xz"
head -c 2M /dev/urandom >"$T/noise.tar"
: >"$T/empty.tar"
mkdir "$T/folder"
tar -C "$T/tree/etc" -cf "$T/noinit.tar" .

while read -r file sentence; do
	source_is "$file"
	told "$file" "$sentence"
done <<END
dots.tar $T/dots.tar: .* leads outside by \.\.: \.\./out; make it with
deep.tar $T/deep.tar: .* leads outside by \.\.: etc/\.\./\.\./out; make it with
absolute.tar $T/absolute.tar: .* an absolute name: /etc/out; make it with
link.tar $T/link.tar: .* leads outside: var/out, by a link to /etc; leave one
up.tar $T/up.tar: .* leads outside: var/out, by a link to .*; leave one
hard.tar $T/hard.tar: .* an absolute name: /etc/shadow
cut.tar $T/cut.tar is (broken or )?cut off: .*; get it or make it again
cut.tar.zst $T/cut.tar.zst is broken or cut off: .*; get it or make it again
cut.tar.xz $T/cut.tar.xz is broken or cut off: .*; get it or make it again
noise.tar $T/noise.tar is not a tar archive, plain or compressed by
empty.tar $T/empty.tar is empty
folder $T/folder can.t be read: Is a directory
noinit.tar $T/noinit.tar has no /sbin/init: .* .init. in the image's spec
END
fails "nothing was written outside" test -e "$S/out"

# --- mended ------------------------------------------------------------------------------

cp "$T/cut.tar" "$T/mended.tar"
source_is mended.tar
told "one that is cut off" "$T/mended.tar is"
cp "$T/good.tar" "$T/mended.tar"
made "put right in its place, it is seen"
empty_cache
source_is mended.tar
made "the same words once more make what is gone again"
empty_cache
rm "$T/mended.tar"
source_is mended.tar
told "one that is gone" "source: there is no $T/mended.tar"
mv "$T/good.tar" "$T/mended.tar"
made "one that comes back is seen"
cp "$T/mended.tar" "$T/good.tar"
empty_cache

# --- while it is read ----------------------------------------------------------------------

# Reading takes a while: nothing but zeros.
mkdir -p "$T/big/sbin"
truncate -s 100M "$T/big/zeros"
echo '#!/bin/sh' >"$T/big/sbin/init"
tar -C "$T/big" -cf "$T/big.tar" zeros sbin
# reading WHAT COMMAND...: the command comes while big.tar is read.
reading() {
	local what=$1 daemon
	shift
	cp --sparse=always "$T/big.tar" "$T/source.tar"
	source_is source.tar
	echo up >nodes/node01/state
	until_true 20 reads $system/state building
	daemon=$(cat "$R/daemon.pid")
	kill -STOP "$daemon"
	is "$what: it was being read" "$(cached | sed 's/\..*//')" build
	"$@"
	kill -CONT "$daemon" 2>/dev/null
}
reading "replaced" mv "$T/good.tar" "$T/source.tar"
made "a source that is replaced while it is read: the new one counts"
is "... and is what is in the cache" "$(sum "$S"/cache/rootfs-*/rootfs.tar | wc -l) $(
	tar -tf "$S"/cache/rootfs-*/rootfs.tar | grep -c usr/data)" "1 1"
empty_cache
reading "cut" truncate -s 1M "$T/source.tar"
told "one that is cut while it is read" "(source: )?$T/source.tar "
reading "vanishes" rm "$T/source.tar"
told "one that vanishes while it is read" \
	"source: there is no $T/source.tar; put it there, or"
cp "$T/mended.tar" "$T/source.tar"
made "put there, it is seen"

# Nobody is told of bytes before their writer closes the file.
append() {
	exec 8>>"$T/source.tar"
	printf '\0' >&8
}
empty_cache
reading "written to" append
told "one that is written to while it is read" \
	"source: $T/source.tar changed while it was read; write"
exec 8>&-
made "once it is whole, that is seen"

# The daemon dies while it reads: the next one begins again.
kill_now() { kill -KILL "$daemon"; }
empty_cache
reading "killed" kill_now
until_true 60 usable
made "the daemon dies while it reads: the next one makes it" 60

# --- whose host key is known -------------------------------------------------------

for key in mine theirs; do
	ssh-keygen -q -t ed25519 -N "" -C "" -f "$T/$key"
done
mkdir images/theirs nodes/node02
cp "$T/mine" "$S/nodes/node02/host_key"
jq -n --arg key "$T/theirs" '{kind: "netboot", kernel: "kernel",
	initrd: "kernel", identity: "none", user_key: $key,
	host_key: ($key + ".pub")}' >images/theirs/spec
shown() { grep '^node02,' known_hosts | cut -d ' ' -f 3; }
key_is() { [ "$(shown)" = "$(cut -d ' ' -f 2 "$T/$1.pub")" ]; }
echo '{"memory":"256M"}' >nodes/node02/spec
eventually "a node shows its own key" 10 key_is mine
echo '{"boot":{"image":"theirs"}}' >nodes/node02/spec
eventually "with somebody's image the image's" 10 key_is theirs
echo '{}' >nodes/node02/spec
eventually "and its own again without" 10 key_is mine
