#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Bad input: each with its errno from write(2), its sentence in `error`, and the
# old document still in place.
# shellcheck source=tests/fs/lib.sh
. "$ROOT/tests/fs/lib.sh"
fake 5ms
cd "$M" || exit 1

node=nodes/node02
good='{"cpus":2,"memory":"512M"}'

# bad WHAT ERRNO SENTENCE (regex) [FILE [OBJECT]] <document
bad() {
	local file=${4:-$node/spec} object=${5:-$node} old
	cat >"$T/doc"
	old=$(cat "$file")
	refused "$1" "$2" write "$file" <"$T/doc"
	like "... says why" "$(cat "$object/error")" "^refused: spec: .*$3"
	is "... and the old document stays" "$(cat "$file")" "$old"
}
echo "$good" >$node/spec

# --- text ---
bad "not JSON" EINVAL 'line 1, column 1[0-9]' <<<'{"memory": 512M}'
bad "not JSON, further down" EINVAL 'line 3, column [0-9]+' \
	<<<$'{\n"cpus": 2,\n"memory" "1G" }'
bad "not an object" EINVAL '' <<<'[1,2]'
bad "two documents in one write" EINVAL 'line 1, column [0-9]+' <<<'{} {}'
bad "a comma too many" EINVAL 'line 1, column [0-9]+' <<<'{"cpus":2,}'
printf '{"cpus":2\0}' | bad "a NUL byte" EINVAL 'line 1, column [0-9]+'
printf '{"boot":{"cmdline":"\\u0000"}}' | bad "an escaped NUL" EINVAL ''
printf '{"boot":{"cmdline":"\xff\xfe"}}' | bad "invalid UTF-8" EINVAL \
	'line 1, column [0-9]+.*UTF-8'
printf '{"boot":{"cmdline":"\xed\xa0\x80"}}' | bad "a surrogate" EINVAL ''
python3 -c 'print("{\"a\":" * 20000 + "1" + "}" * 20000)' |
	bad "nested 20,000 deep" EINVAL '(deep|depth|nest)'
python3 -c 'print("[" * 20000)' | bad "brackets, and no end" EINVAL \
	'(deep|depth|nest|object)'
bad "a key twice" EINVAL 'cpus.*(twice|duplicate)|(twice|duplicate).*cpus' \
	<<<'{"cpus":1,"cpus":2}'
bad "a key twice, deep inside" EINVAL '(twice|duplicate)' \
	<<<'{"nics":{"lan":{"link":"up","link":"up"}}}'
bad "1e999" EINVAL '(range|large|big)' <<<'{"cpus":1e999}'
bad "a number of 400 digits" EINVAL '(range|large|beyond)' \
	<<<"{\"cpus\":$(printf '9%.0s' {1..400})}"
python3 -c 'print("{" + " " * (2 << 20) + "}")' >"$T/big"
old=$(cat $node/spec)
refused "2 MiB" EFBIG write $node/spec <"$T/big"
like "... says the limit" "$(cat $node/error)" '^refused: spec: .*1 ?MiB|1048576'
is "... and the old document stays" "$(cat $node/spec)" "$old"
refused "2 MiB in pieces" EFBIG pieces 65536 $node/spec <"$T/big"
refused "2 MiB as a patch" EFBIG append $node/spec <"$T/big"
is "... and the old document stays" "$(cat $node/spec)" "$old"

# --- keys and types ---
bad "an unknown key" EINVAL 'memroy.*memory' <<<'{"memroy":"1G"}'
bad "an unknown key inside" EINVAL 'nics\.lan\.linc.*link' \
	<<<'{"nics":{"lan":{"linc":"up"}}}'
bad "an unknown key in a partition" EINVAL 'disk\.partitions.*lable.*label' \
	<<<'{"disk":{"size":"64M","partitions":[{"name":"a","size":"100%","lable":"x"}]}}'
bad "a word for a number" EINVAL 'cpus: ' <<<'{"cpus":"two"}'
bad "a number for a size" EINVAL 'memory: .*"?512' <<<'{"memory":512}'
bad "a size without unit" EINVAL 'memory: .*unit' <<<'{"memory":"512"}'
bad "a size of another unit" EINVAL 'memory: ' <<<'{"memory":"512Q"}'
bad "half a CPU" EINVAL 'cpus: ' <<<'{"cpus":0.5}'
bad "a list for a map" EINVAL 'nics: ' <<<'{"nics":[]}'
bad "null for a NIC" EINVAL 'nics\.lan: ' <<<'{"nics":{"lan":null}}'
bad "an unknown word" EINVAL 'nics\.lan\.link: .*up.*down' \
	<<<'{"nics":{"lan":{"link":"sideways"}}}'
bad "a driver that is none" EINVAL 'driver: .*qemu' <<<'{"driver":"vax"}'
bad "a duration without unit" EINVAL 'boot_timeout: .*unit' \
	<<<'{"boot_timeout":"30"}'
bad "no MAC" EINVAL 'nics\.lan\.mac: ' <<<'{"nics":{"lan":{"mac":"52:54"}}}'
bad "a multicast MAC" EINVAL 'nics\.lan\.mac: .*unicast|nics\.lan\.mac: .*multicast' \
	<<<'{"nics":{"lan":{"mac":"01:00:5e:00:00:01"}}}'
bad "no address" EINVAL 'nics\.lan\.address: ' \
	<<<'{"nics":{"lan":{"address":"10.36.0"}}}'
bad "a secret in the wrong place" EINVAL "run\.login: found a string, wanted" \
	<<<'{"run":{"login":"HUSH HUSH"}}'
unlike "... which nobody repeats" "$(cat $node/error events $node/log)" HUSH
bad "a disk without size" EINVAL 'disk\.size: .*required|disk: .*size' \
	<<<'{"disk":{}}'

# --- limits: below and above each ---
limit() { # limit KEY DOCUMENT...
	local key=$1 doc
	shift
	for doc; do
		bad "$doc" EINVAL "${key//./\\.}" <<<"$doc"
	done
}
limit cpus '{"cpus":0}' '{"cpus":257}' '{"cpus":-1}'
limit memory '{"memory":"63M"}' '{"memory":"1025G"}' '{"memory":"9999999999T"}'
limit boot_timeout '{"boot_timeout":"999ms"}' '{"boot_timeout":"61m"}'
limit boot_silence '{"boot_silence":"61m"}'
limit stop_timeout '{"stop_timeout":"3601s"}'
limit ssh.port '{"ssh":{"port":1023}}' '{"ssh":{"port":65536}}'
limit forwards '{"forwards":{"0":80}}' '{"forwards":{"8080":65536}}' \
	'{"forwards":{"x":80}}'
limit disk.size '{"disk":{"size":"15M"}}' '{"disk":{"size":"65T"}}'
limit nics "{\"nics\":{$(printf '"n%d":{"network":"lan"},' {1..8})\"n9\":{\"network\":\"lan\"}}}"
part() { echo "{\"disk\":{\"size\":\"64M\",\"partitions\":[$1]}}"; }
limit disk.partitions \
	"$(part '{"name":"a","size":"100%","filesystem":"vfat","label":"twelve-chars"}')" \
	"$(part '{"name":"a","size":"100%","filesystem":"ext4","label":"seventeen-letters"}')" \
	"$(part '{"name":"a","size":"100%"},{"name":"b","size":"1M"}')" \
	"$(part '{"name":"a","size":"65M"}')" \
	"$(part '{"name":"a","size":"100%","filesystem":"ntfs"}')" \
	"$(part '{"name":"a","size":"100%","flags":["raid"]}')" \
	"$(part "$(printf '{"name":"p%d","size":"1M"},' {1..128})"'{"name":"last","size":"100%"}')"
for n in '{"mtu":575}' '{"mtu":9001}' '{"subnet":"10.0.0.0/7"}' \
	'{"subnet":"10.36.0.0/30"}' '{"subnet":"10.36.0.1/24"}' \
	'{"subnet":"10.36.0.0"}' '{"hub":"yes"}' '{"driver":"token-ring"}'; do
	key=${n#*\"}
	bad "$n" EINVAL "${key%%\"*}: " networks/lan/spec networks/lan <<<"$n"
done
for n in '{"kind":"floppy"}' '{"kind":"netboot","identity":"maybe"}' \
	'{"kind":"netboot","kernel":7}'; do
	bad "$n" EINVAL '(kind|identity|kernel): ' images/netboot/spec \
		images/netboot <<<"$n"
done
for n in '{"name":"Big Rack"}' "{\"name\":\"$(printf 'a%.0s' {1..64})\"}" \
	'{"domain":"a..b"}' '{"authorized_keys":["not a key"]}' \
	'{"observe_every":"often"}'; do
	key=${n#*\"}
	bad "$n" EINVAL "${key%%\"*}" spec . <<<"$n"
done

# --- what another node has already ---
echo '{"nics":{"lan":{"mac":"52:54:00:aa:bb:cc","address":"10.36.0.77"}},
	"ssh":{"port":2999},"forwards":{"8080":80}}' >nodes/node01/spec
bad "a MAC twice" EEXIST 'nics\.lan\.mac: .*node01' \
	<<<'{"nics":{"lan":{"mac":"52:54:00:aa:bb:cc"}}}'
bad "an address twice" EEXIST 'nics\.lan\.address: .*node01' \
	<<<'{"nics":{"lan":{"address":"10.36.0.77"}}}'
bad "another's default address" EEXIST 'nics\.lan\.address: .*node03' \
	<<<'{"nics":{"lan":{"address":"10.36.0.13"}}}'
bad "a port twice" EEXIST 'ssh\.port: .* 2999 .*node01' <<<'{"ssh":{"port":2999}}'
bad "another's default port" EEXIST 'ssh\.port: .* 2203 .*node03' \
	<<<'{"ssh":{"port":2203}}'
bad "a forward twice" EEXIST 'forwards\.8080: .*node01' \
	<<<'{"forwards":{"8080":81}}'
bad "a forward on an SSH port" EEXIST 'forwards\.2999: .*node01' \
	<<<'{"forwards":{"2999":81}}'
bad "a MAC twice in one document" EEXIST 'nics\.b\.mac: .*nics\.a' \
	<<<'{"nics":{"a":{"network":"lan","mac":"52:54:00:00:77:01"},"b":{"network":"lan","mac":"52:54:00:00:77:01"}}}'

# --- addresses and names of other things ---
bad "an address of another subnet" EINVAL 'nics\.lan\.address: .*10\.36\.0\.0/24' \
	<<<'{"nics":{"lan":{"address":"192.168.1.5"}}}'
bad "the subnet's first address" EINVAL 'nics\.lan\.address: ' \
	<<<'{"nics":{"lan":{"address":"10.36.0.0"}}}'
bad "the subnet's last address" EINVAL 'nics\.lan\.address: ' \
	<<<'{"nics":{"lan":{"address":"10.36.0.255"}}}'
bad "a network that is not there" ENOENT 'nics\.(storage|storage\.network): .*storage' \
	<<<'{"nics":{"storage":{}}}'
bad "an image that is not there" ENOENT 'boot\.image: .*debian' \
	<<<'{"boot":{"image":"debian"}}'
old=$(cat networks/lan/spec)
refused "a subnet that leaves nodes outside" EINVAL write networks/lan/spec \
	<<<'{"subnet":"10.77.0.0/24"}'
is "... and the old document stays" "$(cat networks/lan/spec)" "$old"

# --- and after all of it ---
echo "$good" >$node/spec
is "a good document is taken" "$(cat $node/error)" ""
echo up >$node/state
is "and the node comes up" "$(settle node02)" up
