#!/usr/bin/env bash
# A throw-away node: a varved whose everything belongs to one directory. Several may run side by side.
#
#   hack/node.sh up DIR [--mirror http://HOST:PORT] [--config FILE]   a new node; CRI is at DIR/varve.sock
#   hack/node.sh start DIR                                            its daemon again, after a crash
#   hack/node.sh status DIR                                           what it has; fails when its daemon does not run
#   hack/node.sh down DIR                                             removes all; fails and names it if anything leaked
#
# --mirror pulls every registry's images from there, --config is a varved configuration to start from.
# The programs are built first, unless VARVE_BIN says where they are.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/needs.sh"

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
verb=$1 dir=$2
shift 2
case $verb in up|start|status|down) ;; *) usage ;; esac

flags=()
while [ $# -gt 0 ]; do
	case $1 in
	--mirror | --config) [ $# -ge 2 ] || usage; flags+=("$1=$2"); shift 2 ;;
	*) usage ;;
	esac
done

need_root
if [ -z "${VARVE_BIN:-}" ]; then
	"$here/build.sh"
	VARVE_BIN=$here/../bin
fi
[ "$verb" != up ] || need_network
exec "$(readlink -f "$VARVE_BIN")/nodetool" "${flags[@]}" "$verb" "$dir"
