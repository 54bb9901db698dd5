#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# up.sh MOUNTPOINT: three machines, installed on blank disks, that run etcd.
set -eu
cluster=${1:?the mount point of rackfs}
here=${0%/*}

mkdir -p "$cluster/images/debian"
cp "$here/debian.spec" "$cluster/images/debian/spec"
cp "$here/lan.spec" "$cluster/networks/lan/spec"
cp "$here/cluster.spec" "$cluster/spec"

mkdir -p "$cluster/nodes/node01" "$cluster/nodes/node02" "$cluster/nodes/node03"
cp "$here/node01.spec" "$cluster/nodes/node01/spec"
cp "$here/node02.spec" "$cluster/nodes/node02/spec"
cp "$here/node03.spec" "$cluster/nodes/node03/spec"

echo up >"$cluster/state"
cat "$cluster/wait/all"
