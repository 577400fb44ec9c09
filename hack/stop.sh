#!/usr/bin/env bash
# Ends what hack/run.sh started: pods, varved, the registry, their files, network and cgroups. Fails and names it if
# anything leaked. Nothing to stop is no error.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/needs.sh
need_root

run=/run/varve-quickstart
[ -d $run ] || { echo "nothing to stop"; exit 0; }

if [ -s $run/registry.pid ] && [ "$(cat "/proc/$(cat $run/registry.pid)/comm" 2>/dev/null)" = registry ]; then
	kill "$(cat $run/registry.pid)"
fi
forward=$(cat $run/ip_forward 2>/dev/null || echo 1)
[ -x bin/nodetool ] || hack/build.sh
status=0
if [ -e $run/node.json ]; then
	bin/nodetool down $run || status=$?
fi
rm -rf $run
if [ "$forward" = 0 ] && [ -z "$(ls -d /sys/class/net/*/bridge 2>/dev/null)" ]; then
	echo 0 >/proc/sys/net/ipv4/ip_forward # as it was
fi
[ $status != 0 ] || echo "stopped; nothing is left"
exit $status
