#!/usr/bin/env bash
# A running node from nothing: installs what is missing, builds, starts varved with its embedded configuration and a
# local registry, runs a pod of two containers and shows what they say. Ends with varved running; `make stop` ends it.
# May be run again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/needs.sh
need_root
need_go
need_network

run=/run/varve-quickstart
if [ ! -d $run ]; then
	for dir in /run/varve /var/lib/varve; do
		# Not ours: `make stop` would remove it.
		[ -e $dir ] && { echo "$dir exists already: varve is installed on this machine; stop it and move $dir away first" >&2; exit 1; }
	done
	mkdir -m 0700 $run
	cat /proc/sys/net/ipv4/ip_forward >$run/ip_forward
fi
if [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
	echo "switching on net.ipv4.ip_forward, without which pods reach only this machine"
	echo 1 >/proc/sys/net/ipv4/ip_forward
fi

echo "building ./bin"
hack/build.sh

if ! { [ -s $run/registry.pid ] && [ "$(cat "/proc/$(cat $run/registry.pid)/comm" 2>/dev/null)" = registry ]; }; then
	rm -f $run/image
	setsid bin/registry -ready $run/image >$run/registry.log 2>&1 </dev/null &
	echo $! >$run/registry.pid
fi
bin/nodetool -embedded up $run
for _ in $(seq 600); do
	[ -s $run/image ] && break
	sleep 0.1
done
[ -s $run/image ] || { echo "the registry is not up:" >&2; cat $run/registry.log >&2; exit 1; }

echo
bin/quickstart -image "$(cat $run/image)" -logs $run/logs
cat <<TXT

varved is running; its log is $run/varved.log. Next:
  crictl --runtime-endpoint unix:///run/varve/varve.sock pods
  crictl --runtime-endpoint unix:///run/varve/varve.sock ps
  crictl --runtime-endpoint unix:///run/varve/varve.sock pull $(cat $run/image)
  bin/varve pull $(cat $run/image)     with its progress; bin/varve layers, store, --help
  kubelet --config FILE     with containerRuntimeEndpoint: unix:///run/varve/varve.sock in it
  make stop                 ends pods, varved and registry, and leaves nothing
TXT
