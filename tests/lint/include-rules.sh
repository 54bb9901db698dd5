#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# include-rules.sh [DIR]: checks who includes what: the table "Layout" of
# docs/ARCHITECTURE.md.  A rule is: files (a shell pattern), "only" or "never",
# and patterns of headers.  Every #include of a file must pass every rule that
# fits the file.  Headers of ours are told by where they lie
# ("include/err.h"), others as written ("<fuse_lowlevel.h>").
cd "${1:-$(dirname "$0")/../..}" || exit 1
# Patterns stand in the rules as text.
set -f

rules='
include/*              never <fuse* <jansson* <libssh* <systemd/* <archive* <openssl/*
include/*              only  <* include/*
fs/*                   only  <* include/* fs/*
fs/*                   never <jansson* <libssh* <systemd/* <archive* <openssl/*
fs/keeper*             only  <* fs/* include/util.h include/err.h include/log.h
fs/herald*             only  <* fs/* include/util.h include/err.h include/log.h
backend/*              never <fuse* fs/*
backend/engine/*       only  <* include/* backend/engine/* backend/host/* backend/drivers/drivers.h
NOT backend/engine/registry.c backend/drivers/*  never backend/drivers/*
backend/engine/*       never <libssh* <systemd/* <archive* <openssl/* backend/host/ssh.h backend/host/qmp.h
backend/engine/spec*   never <unistd.h> <fcntl.h> <time.h> <sys/stat.h> <poll.h> include/log.h include/loop.h include/cluster.h backend/host/*
backend/engine/plan*   never <unistd.h> <fcntl.h> <time.h> <sys/stat.h> <poll.h> include/log.h backend/host/*
backend/host/*         only  <* include/util.h include/err.h include/loop.h include/log.h include/identity.h include/doctor.h backend/host/*
backend/drivers/*      only  <* include/* backend/host/* SELF
backend/drivers/*      never include/cluster.h include/log.h <systemd/* <libssh* <archive*
backend/netboot/*      only  <* include/identity.h backend/netboot/*
NOT backend/host/loop.c    never <systemd/*
NOT backend/host/ssh*      never <libssh*
NOT backend/host/newc.c    never <archive*
'
# "Library code does not log": driver.c and reconcile.c speak for it.
rules+='
NOT backend/host/log.c backend/engine/*.c fs/*  never include/log.h
'

fits() { # fits NAME PATTERN...: one of them
	local name=$1 pattern
	shift
	for pattern; do
		# shellcheck disable=SC2053 # a pattern
		[[ $name == $pattern ]] && return 0
	done
	return 1
}

# Where a header of ours lies: beside its user, or below one of the -I folders.
place() {
	local dir
	for dir in "$(dirname "$1")" . include backend; do
		[ -e "$dir/$2" ] || continue
		realpath --relative-to=. "$dir/$2"
		return
	done
	echo "$2"
}

# The part of a driver's name that its own files share: machine_qemu.
own() {
	[[ $1 =~ ^(backend/drivers/[a-z]+(_[a-z0-9]+)?) ]]
	echo "${BASH_REMATCH[1]}*"
	# The files of the disk driver, and those that play a machine.
	[[ $1 =~ ^(backend/drivers/(disk|guest)_) ]] && echo "${BASH_REMATCH[1]}*"
	[[ $1 =~ fake ]] && echo "backend/drivers/fake.h"
	echo backend/drivers/drivers.h
}

wrong=0 looked=0
check() { # check FILE HEADER LINE
	local files rest kind headers not
	while read -r rest; do
		[ -n "$rest" ] || continue
		[[ $rest =~ ^(NOT )?(.*[^\ ])\ +(only|never)\ +(.*)$ ]]
		not=${BASH_REMATCH[1]} kind=${BASH_REMATCH[3]}
		read -ra files <<<"${BASH_REMATCH[2]}"
		read -ra headers <<<"${BASH_REMATCH[4]/SELF/$(own "$1" | paste -sd' ')}"
		if fits "$1" "${files[@]}"; then
			[ -z "$not" ] || continue
		else
			[ -n "$not" ] || continue
		fi
		if fits "$2" "${headers[@]}"; then
			[ "$kind" = never ] || continue
		else
			[ "$kind" = only ] || continue
		fi
		echo "$1:$3: includes $2, against: $rest"
		wrong=$((wrong + 1))
	done <<<"$rules"
}

set +f
for file in {include,fs,backend/*}/*.[ch]; do
	[ -e "$file" ] || continue
	set -f
	while IFS=: read -r line header; do
		case $header in
		\"*) header=$(place "$file" "${header//\"/}") ;;
		esac
		looked=$((looked + 1))
		check "$file" "$header" "$line"
	done < <(sed -nE 's/^[ \t]*#[ \t]*include[ \t]+(["<][^">]*[">]).*/\1/;T;=;p' \
		"$file" | paste -d: - -)
	set +f
done
[ $looked -gt 0 ] || { echo "include-rules: no #include was found" && exit 1; }
[ $wrong -eq 0 ]
