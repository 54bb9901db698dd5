# shellcheck shell=bash disable=SC2154 # set by the scripts that source it
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts share that build an image from Debian packages: which
# packages in which versions, getting them, and the cache.  They source it.
#
#   SCRIPT [--check] CACHEDIR [PACKAGE...]
#
# On stdout:
#   progress PERCENT WORDS
#   image DIRECTORY DIGEST      at the end
# --check builds nothing: exit status 3 when the cache has no such image.
# Packages come through the host's own apt sources, whose signatures apt checks.
#
# The script sets before: script (its name, for messages), kind (what its folders in
# the cache begin with), contents (the files that an image has); and defines
#   tools           looks for what it needs
#   resolve [PACKAGE...]  writes $scratch/wanted, in lines of solve()
#   digest_scripts  prints what else the image depends on, asked of each look
#   digest_more     prints what of resolve's work isn't in $scratch/wanted
#   build           makes a folder and gives it to store()

# Where depmod and chroot are, also for an ordinary user.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
trap 'echo "$script: line $LINENO: $BASH_COMMAND: failed" >&2' ERR

die() {
	echo "$script: $*" >&2
	exit 1
}

progress() {
	echo "progress $*"
}

check_tools() { # program package...
	local missing=() packages=()
	set -- apt-get apt dpkg-deb dpkg flock util-linux tar tar "$@"
	while [ $# -gt 0 ]; do
		if ! command -v "$1" >/dev/null; then
			missing+=("$1")
			packages+=("$2")
		fi
		shift 2
	done
	[ ${#missing[@]} -eq 0 ] ||
		die "missing: ${missing[*]}; run: sudo apt-get install" \
			"${packages[*]}"
}

table() { # the lines of a table without comments
	sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1"
}

# --- which packages, in which versions ---------------------------------------

# Lets apt solve for a machine that has nothing installed.  Prints
# "name version-as-in-file-name file size sha256" for each package.
solve() {
	local out=$scratch/uris log=$scratch/apt.log
	: >"$scratch/status"
	if ! apt-get -qq -y --print-uris --no-install-recommends \
		-o Dir::State::status="$scratch/status" \
		-o Dir::Cache::archives="$scratch/archives" \
		-o Debug::NoLocking=1 -o Acquire::ForceHash=SHA256 \
		install "$@" >"$out" 2>"$log"; then
		cat "$log" >&2
		if grep -q 'Unable to locate package' "$log"; then
			die "apt doesn't know the packages" \
				"$(sed -n 's/.*locate package //p' "$log" |
					paste -sd' '); when its lists are old," \
				"run: sudo apt-get update"
		fi
		die "apt can't solve for: $*"
	fi
	awk '{ gsub("\047", ""); split($2, f, "_");
		print f[1], f[2], $2, $3, substr($4, index($4, ":") + 1) }' "$out"
}

# Debian's own apt keeps lists under /var/lib/apt/lists.
check_lists() {
	local dir
	eval "$(apt-config shell dir Dir::State::lists/d)"
	compgen -G "$dir/*_Packages*" >/dev/null ||
		die "apt has no package lists in $dir; run: sudo apt-get update"
}

manifest_packages() {
	awk '{ gsub("%3a", ":", $2); print "package", $1, $2, $5 }' \
		"$scratch/wanted"
}

# --- getting them ------------------------------------------------------------

fetched() { # file sha256
	[ -e "$debs/$1" ] &&
		echo "$2  $debs/$1" | sha256sum --quiet --check - 2>/dev/null
}

# One apt-get download for all that is missing; apt checks signatures and
# digests.  It works in a folder of ours, so a broken file is never left
# under a good name.
download() {
	local package version file size sha missing=() bytes=0
	local log=$scratch/dl.log
	mkdir -p "$debs"
	while read -r package version file size sha; do
		fetched "$file" "$sha" && continue
		version=${version//%3a/:}
		missing+=("$package=$version")
		bytes=$((bytes + size))
	done <"$scratch/wanted"
	[ ${#missing[@]} -gt 0 ] || return 0
	progress 5 "downloading ${#missing[@]} packages, $((bytes / 1000000)) MB"
	mkdir -p "$scratch/dl"
	if ! (cd "$scratch/dl" && apt-get -qq download \
		-o APT::Sandbox::User=root -o Debug::NoLocking=1 \
		"${missing[@]}") >"$log" 2>&1; then
		cat "$log" >&2
		die "can't download the packages; when it says 404, apt's lists" \
			"are old: run: sudo apt-get update"
	fi
	while read -r package version file size sha; do
		[ ! -e "$scratch/dl/$file" ] || mv "$scratch/dl/$file" "$debs/"
		fetched "$file" "$sha" ||
			die "$file: was downloaded, but isn't what apt's lists" \
				"say; run: sudo apt-get update"
	done <"$scratch/wanted"
}

# --- the cache ---------------------------------------------------------------

digest_inputs() {
	{
		cat "$scratch/wanted"
		digest_more
		digest_all_scripts
	} | sha256sum | cut -c1-32
}

digest_all_scripts() {
	(cd "$here/../packages" && sha256sum builder.sh)
	digest_scripts
}

# Images unused for a year, and packages that no image of the last days names.
prune() {
	find "$cache" -maxdepth 1 -name "$kind-*" -mtime +365 \
		! -path "$final" -exec rm -rf {} +
	find "$cache" -maxdepth 1 -xtype l -name 'known-*' -delete
	local f used
	used=$(find "$cache" -path '*/*-*/manifest' -mtime -7 \
		-exec awk '/^package/ { print $4 }' {} +)
	for f in "$debs"/*.deb; do
		[ -e "$f" ] || continue
		case $used in
		*"$(sha256sum "$f" | cut -c1-64)"*) ;;
		*) rm -f "$f" ;;
		esac
	done
}

# Is an image in the cache with all that it is made of?
whole() { # directory
	local f
	for f in "${contents[@]}"; do
		[ -s "$1/$f" ] || return
	done
}

# A folder becomes the image, in one step.
store() {
	sync "$1"/*
	mv -T "$1" "$final"
}

build_locked() {
	exec 9>"$cache/lock"
	if ! flock -n 9; then
		progress -1 "waiting for another build"
		flock 9
	fi
	whole "$final" && return
	rm -rf "$final"
	build
	prune
}

found() { # directory
	touch "$1"
	echo "image $1 ${1##*/"$kind"-}"
}

# What killed builds left.  A living one holds the lock on its folder, but for
# the moment when it makes it.
sweep() {
	local d
	find "$cache" -maxdepth 1 -name 'build.*' -mmin +1 | while read -r d; do
		flock -n "$d" rm -rf "$d" || :
	done
}

# Whatever apt's answers depend on: then asking it is spared.
quick_key() {
	local dir
	eval "$(apt-config shell dir Dir::State::lists/d)"
	{
		echo "$kind"
		find "$dir" -maxdepth 1 -type f -printf '%p %s %T@\n' | sort
		apt-config dump
		cat /etc/apt/preferences /etc/apt/preferences.d/* || :
		digest_all_scripts
		printf '%s\n' "$@"
	} 2>/dev/null | sha256sum | cut -c1-32
}

main() {
	local check=
	if [ "${1:-}" = --check ]; then
		check=1
		shift
	fi
	[ $# -ge 1 ] || die "usage: $script.sh [--check] CACHEDIR [PACKAGE...]"
	mkdir -p "$1" || die "can't make $1"
	cache=$(cd "$1" && pwd)
	debs=$cache/debs
	shift
	tools
	check_lists
	known=$cache/known-$(quick_key "$@")
	if whole "$known"; then
		found "$(readlink -f "$known")"
		exit 0
	fi
	sweep
	scratch=$(mktemp -d "$cache/build.XXXXXX") || die "can't write in $cache"
	exec 8<"$scratch"
	flock 8
	trap 'rm -rf "$scratch"' EXIT
	trap 'exit 130' INT TERM HUP

	progress 1 "asking apt for versions"
	resolve "$@"
	digest=$(digest_inputs)
	final=$cache/$kind-$digest
	if ! whole "$final"; then
		[ -z "$check" ] || exit 3
		build_locked
	fi
	ln -sfnT "$kind-$digest" "$known"
	found "$final"
}
