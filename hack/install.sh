#!/usr/bin/env bash
# Installs ./bin, the systemd unit and the commented configuration:  hack/install.sh [DESTDIR] PREFIX
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# = 2 ] || set -- "" "${1:-/usr/local}"
dest=$1 prefix=$2

install -D -m 0755 -t "$dest$prefix/bin" bin/varved bin/varve-shim bin/varve
mkdir -p "$dest/etc/systemd/system" "$dest/etc/varve"
sed "s|@PREFIX@|$prefix|" manifests/varved.service >"$dest/etc/systemd/system/varved.service"
# A configuration that is there is the administrator's.
[ -e "$dest/etc/varve/varved.yaml" ] || install -m 0644 manifests/varved.yaml "$dest/etc/varve/varved.yaml"
echo "installed below $dest$prefix; next: systemctl daemon-reload && systemctl enable --now varved"
