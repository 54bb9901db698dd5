#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What can be wrong with a real machine: each is `failed` with its stage and a
# sentence, and goes on when it is mended.
# shellcheck source=tests/vm/lib.sh
. "$ROOT/tests/vm/lib.sh"
start_cluster
cd "$M" || exit 1
mkdir nodes/node01
node=nodes/node01

# fails_with WHAT STAGE SENTENCE (regex)
fails_with() {
	echo up >$node/state
	refused "$1" EIO read wait/node01
	image_error=$(cat images/mine/error)
	like "... the sentence" "$(cat $node/error)" "^failed: $2: .*$3"
	is "... the state" "$(cat $node/state)" failed
	like "... progress" "$(cat $node/progress)" "^$2 +failed"
	echo off >$node/state
	settles node01 down "... off"
	is "... nothing runs" "$(pids_of qemu-system)" ""
}

# --- a kernel that is missing, then there ---
mkdir images/mine
echo "{\"kind\":\"netboot\",\"kernel\":\"$T/vmlinuz\",\"initrd\":\"$T/initrd\"}" \
	>images/mine/spec
echo '{"boot":{"image":"mine"}}' >$node/spec
fails_with "a kernel path that is missing" image "$T/vmlinuz"
like "... the image said so too" "$image_error" "$T/vmlinuz"

# --- an SSH port that somebody else has ---
port=$(python3 - <<'PY'
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])
PY
)
python3 - "$port" >"$T/listens" <<'PY' &
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
print("yes", flush=True)
while True:
    s.accept()
PY
listener=$!
disown $listener
until_true 10 grep -q yes "$T/listens"
echo "{\"ssh\":{\"port\":$port}}" >$node/spec
fails_with "an SSH port in use" machine "$port"
kill $listener
until_true 10 gone $listener

# --- a disk file that can't be made ---
echo '{"disk":{"size":"64M"}}' >$node/spec
dir=$(find "$S" -type d -path '*node01*' | head -n 1)
if [ -z "$dir" ]; then
	not_ok "the node has no folder below the state directory"
else
	# In the way of the file, whatever rights we have.
	disk=$(status node01 '.disk.path? // empty')
	disk=${disk:-$dir/disk.qcow2}
	rm -f "$disk"
	mkdir "$disk"
	fails_with "a disk file that can't be created" machine "$disk"
	rmdir "$disk"
fi

# --- QEMU ends at once ---
echo '{"qemu":{"args":["-nonsense"]}}' >$node/spec
fails_with "QEMU that ends at once" machine "nonsense"
like "... its words are in the log" "$(cat $node/log)" '-nonsense'
echo '{"qemu":{"args":["-fw_cfg","name=opt/x,string=HUSH,bad=1"]}}' >$node/spec
fails_with "QEMU that repeats what it was told" machine \
	"-fw_cfg qemu.args\\[1\\]: .*bad"
unlike "... which stays a secret" \
	"$(cat $node/{error,log,progress,status.json} events status plan)" HUSH

# --- a guest that never answers ---
# It has no console marker and no SSH: an initrd whose init sleeps.
mkdir -p "$T/root/bin"
cp "$(realpath "$(command -v busybox)")" "$T/root/bin/busybox"
for lib in $(ldd "$T/root/bin/busybox" 2>/dev/null | grep -o '/[^ ]*'); do
	install -D "$lib" "$T/root$lib"
done
printf '#!/bin/busybox sh\necho asleep\nexec /bin/busybox sleep 100000\n' >"$T/root/init"
chmod +x "$T/root/init"
(cd "$T/root" && find . | cpio -o -H newc --quiet) >"$T/initrd"
echo '{}' >$node/spec
echo up >$node/state
settles node01 up "the netboot image, for its kernel"
echo off >$node/state
settle node01 >/dev/null
kernel=$(json images/netboot/status.json .kernel 2>/dev/null)
[ -f "${kernel:-}" ] || kernel=$(find -L "$S/cache" -name kernel | head -n 1)
cp "$kernel" "$T/vmlinuz"
cat >images/mine/spec <<SPEC
{"kind":"netboot","kernel":"$T/vmlinuz","initrd":"$T/initrd",
 "cmdline":"console=ttyS0","identity":"none",
 "user_key":"$T/none","host_key":"$T/none.pub"}
SPEC
ssh-keygen -q -t ed25519 -N '' -f "$T/none"
echo '{"boot":{"image":"mine"},"boot_timeout":"15s"}' >$node/spec
echo up >$node/state
until_true 60 grep -qx booting $node/state
like "while it waits it says for what, and until when" \
	"$(status node01 '[.waiting_for, .deadline] | tostring')" '.*[a-zA-Z]+.*[0-9]'
fails_with "a guest that never answers SSH" '(boot|ssh)' '15 ?s'

# --- and after all of that ---
echo '{}' >$node/spec
echo up >$node/state
settles node01 up "the node comes up"
echo off >$node/state
settles node01 down "and goes"
