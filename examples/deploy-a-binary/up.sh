#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# up.sh MOUNTPOINT: one machine that runs the server of this folder.
set -eu
cluster=${1:?the mount point of rackfs}
here=${0%/*}

cp "$here/cluster.spec" "$cluster/spec"
mkdir -p "$cluster/images/debian"
cp "$here/debian.spec" "$cluster/images/debian/spec"

mkdir -p "$cluster/nodes/node01"
cp "$here/node01.spec" "$cluster/nodes/node01/spec"

echo up >"$cluster/state"
cat "$cluster/wait/all"
