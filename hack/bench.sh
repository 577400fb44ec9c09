#!/usr/bin/env bash
# The benchmarks: the kernel's limit, the runtime alone, each CRI call, many pods (see e2e/bench).
#
#   hack/bench.sh [-pull] [-pods 100] [-json FILE] [-only start,phases,cycles,memory,scale,churn] [-plot churn.svg] [-endpoint name=unix:///run/x.sock]...
#
# Other runtimes must pull every registry's images from http://127.0.0.1:5119. For figures worth keeping the machine should be quiet.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/needs.sh
need_go
need_root
need_network
if ! command -v gcc >/dev/null || [ ! -e /usr/include/stdlib.h ]; then # the limit is a C program
	echo "installing gcc libc6-dev"
	apt-get -qq install -y --no-install-recommends gcc libc6-dev >/dev/null </dev/null
fi
hack/build.sh
exec go run ./e2e/bench -bin "${VARVE_BIN:-$PWD/bin}" "$@"
