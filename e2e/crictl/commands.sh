#!/usr/bin/env bash
# Every command of crictl against a running varved, and what each must say. The end-to-end test of this folder runs it
# on a throw-away node; by hand:
#
#   e2e/crictl/commands.sh unix:///run/varve/varve.sock IMAGE      IMAGE is one of e2e/probe's; it is removed at the end
#
# Prints a line for each check that fails, and the number of checks last.
set -uo pipefail
[ $# = 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
image=$2
work=$(mktemp -d)
export CRI_CONFIG_FILE=$work/crictl.yaml
printf 'runtime-endpoint: %s\nimage-endpoint: %s\ntimeout: 60\n' "$1" "$1" >"$CRI_CONFIG_FILE"
checks=0 failures=0 background=()
trap 'for p in "${background[@]}"; do kill "$p" 2>/dev/null; done; rm -rf "$work"' EXIT

# say TEXT... fails a check.
say() {
	failures=$((failures + 1))
	printf 'crictl: %.600s\n' "$(tr '\n' ' ' <<<"$*")"
}

# run COMMAND... keeps stdout and stderr in $out and the exit code in $code.
run() {
	checks=$((checks + 1))
	out=$(timeout 120 "$@" 2>&1)
	code=$?
}

# expect PATTERN COMMAND...: crictl succeeds and its output has the pattern (extended, over lines).
expect() {
	local pattern=$1
	shift
	run crictl "$@"
	[ $code = 0 ] || { say "$* ends with code $code: $out"; return; }
	[ -z "$pattern" ] || grep -qE -- "$pattern" <<<"$out" || say "$*: no '$pattern' in: $out"
}

# refuse PATTERN COMMAND...: crictl fails and says why.
refuse() {
	local pattern=$1
	shift
	run crictl "$@"
	[ $code != 0 ] || { say "$* succeeds: $out"; return; }
	grep -qE -- "$pattern" <<<"$out" || say "$*: no '$pattern' in: $out"
}

# lacks PATTERN COMMAND...: crictl succeeds and its output has not the pattern.
lacks() {
	local pattern=$1
	shift
	run crictl "$@"
	[ $code = 0 ] || { say "$* ends with code $code: $out"; return; }
	! grep -qE -- "$pattern" <<<"$out" || say "$*: '$pattern' in: $out"
}

# eventually PATTERN COMMAND...: expect, tried for a while.
eventually() {
	local pattern=$1 i
	shift
	for i in $(seq 600); do
		grep -qE -- "$pattern" <<<"$(timeout 60 crictl "$@" 2>&1)" && break
		sleep 0.1
	done
	expect "$pattern" "$@"
}

# id COMMAND...: crictl prints one id, which is the result.
id() {
	run crictl "$@"
	[ $code = 0 ] || { say "$* ends with code $code: $out"; return; }
	out=$(grep -oE '^[0-9a-f]{64}$' <<<"$out") || say "$* prints no id" # it warns on stderr, too
}

pod() { # NAME
	cat >"$work/$1.json" <<J
{"metadata": {"name": "$1", "namespace": "crictl", "uid": "uid-$1", "attempt": 1}, "hostname": "$1",
 "labels": {"pod": "$1"}, "log_directory": "$work/logs-$1", "linux": {}}
J
}

container() { # NAME ARGS-AS-JSON [MORE]
	cat >"$work/$1.json" <<J
{"metadata": {"name": "$1", "attempt": 0}, "image": {"image": "$image"}, "labels": {"container": "$1"},
 "args": $2, "log_path": "$1.log", "linux": {"resources": {"cpu_shares": 256, "memory_limit_in_bytes": 134217728}} ${3:-}}
J
}

# The program itself.
expect 'RuntimeName: *varve' version
expect 'NetworkReady' info
expect '"runtimeApiVersion"|RuntimeReady' info -o json
expect 'CGROUPFS|SYSTEMD' runtime-config
expect 'crictl' completion bash
expect 'runtime-endpoint' config --list
expect '' config --set debug=false
expect '^60$|timeout.*60' config --get timeout
expect '' update-runtime-config --pod-cidr 10.88.0.0/24
refuse 'pod_cidr' update-runtime-config --pod-cidr not-an-address

# Images.
expect 'Image is up to date' pull "$image"
expect "$(sed 's/:[^:]*$//' <<<"$image")" images
expect '^sha256:[0-9a-f]{64}$' images -q
expect '"repoTags"' images -o json
expect 'RepoTags|repoTags' inspecti "$image"
expect '"usedBytes"|UsedBytes' imagefsinfo
refuse 'no such image|NotFound' inspecti registry.test/no-such-image:1
refuse '404|not found|NotFound' pull registry.test/no-such-image:1

# Pods and containers.
pod one
id runp "$work/one.json"
pod=$out
expect 'Ready' pods
expect "^$pod\$" pods -q --name one
expect 'SANDBOX_READY' inspectp "$pod"
container server '["serve", ":8080", "hello"]'
id create "$pod" "$work/server.json" "$work/one.json"
server=$out
expect 'CONTAINER_CREATED' inspect "$server"
expect "$server" start "$server"
container reader '["stdin"]' ', "stdin": true, "stdin_once": true'
id create --no-pull "$pod" "$work/reader.json" "$work/one.json"
reader=$out
expect '' start "$reader"
expect 'server' ps
expect "^$reader\$" ps -q --name reader
expect 'CONTAINER_RUNNING' inspect "$server"
expect '"pid"' inspect -o json "$server"
eventually 'serving on' logs "$server"
expect 'serving on' logs --tail 1 --timestamps "$server"
expect '' logs --reopen "$server"
[ -s "$work/logs-one/server.log" ] || say 'the log file is empty'

# What runs inside.
expect '^one$' exec -s "$server" /bin/probe hostname
expect '^one$' exec "$server" /bin/probe hostname
expect '^one$' exec --transport websocket "$server" /bin/probe hostname
refuse '(exit code|exit status|code:?|exited with|terminated with exit code) 7' exec "$server" /bin/probe exit 7
refuse '(exit code|exit status|code:?|exited with|terminated with exit code) 7' exec -s "$server" /bin/probe exit 7
refuse 'no-such-program' exec "$server" /no-such-program
run bash -c "printf 'over stdin' | crictl exec -i $server /bin/probe stdin"
[ "$out" = 'over stdin' ] || say "exec -i: $out"
run script -qefc "crictl exec -it $server /bin/probe tty" /dev/null </dev/null
[ $code = 0 ] && grep -qiE 'true|yes|/dev/pts|[0-9]+x[0-9]+' <<<"$out" || say "exec -it: $code $out"
run bash -c "printf 'to be echoed' | crictl attach -i $reader"
grep -q 'to be echoed' <<<"$out" || say "attach: $code $out"
eventually 'CONTAINER_EXITED' inspect "$reader" # stdin_once: the end of the input was the end of cat
expect 'to be echoed' logs "$reader"

crictl port-forward "$pod" 0:8080 >"$work/forward" 2>&1 &
background+=($!)
port=
for _ in $(seq 600); do
	port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\) -> 8080.*/\1/p' "$work/forward" | head -1)
	[ -n "$port" ] && break
	sleep 0.1
done
run bash -c "exec 3<>/dev/tcp/127.0.0.1/${port:-1} && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && cat <&3"
grep -q hello <<<"$out" || say "port-forward: $out; $(cat "$work/forward")"
kill "${background[0]}"

# Figures.
expect "${server:0:13}" stats
expect 'usageCoreNanoSeconds' stats -o json --id "$server"
expect "${pod:0:13}" statsp
expect 'usageCoreNanoSeconds' statsp -o json --id "$pod"
expect 'container_memory_working_set_bytes' metricdescs
expect 'container_cpu_usage_seconds_total' metricsp
crictl events >"$work/events" 2>&1 &
background+=($!)
for _ in $(seq 20); do # until it listens: each stop and start of a container is an event
	expect '' update --cpu-share 512 --memory 268435456 "$server"
	container short '["print", "short"]'
	id create "$pod" "$work/short.json" "$work/one.json"
	short=$out
	expect '' start "$short"
	eventually 'CONTAINER_EXITED' inspect "$short"
	expect '' rm "$short"
	grep -q CONTAINER_DELETED_EVENT "$work/events" && break
	sleep 0.1
done
for event in CREATED STARTED STOPPED DELETED; do
	grep -q "CONTAINER_${event}_EVENT" "$work/events" || say "events: no $event"
done
kill "${background[1]}"
expect '"memoryLimitInBytes": "268435456"' inspect -o json "$server"
expect '"cpuShares": "512"' inspect -o json "$server"

# A pod and a container in one.
pod two
container once '["serve", ":8081", "two"]'
id run --with-pull "$work/once.json" "$work/two.json"
expect 'once' ps --state Running
refuse 'CheckpointContainer is not implemented' checkpoint --export "$work/checkpoint.tar" "$out"

# And all of it away again.
refuse 'running|Running' rm "$server"
expect "$server" stop --timeout 1 "$server"
expect 'CONTAINER_EXITED' inspect "$server"
expect "$server" rm "$server"
refuse 'NotFound|not found' inspect "$server"
expect '' rm --all --force
lacks 'server|reader|once' ps -a -o json
expect "Stopped sandbox $pod" stopp "$pod"
expect 'SANDBOX_NOTREADY' inspectp "$pod"
expect "Removed sandbox $pod" rmp "$pod"
expect 'Removed sandbox' rmp --all --force
lacks 'crictl' pods -o json
expect 'Deleted' rmi "$image"
lacks "$image" images -o json

# No command is left out.
known=$(crictl --help | sed -n '/^COMMANDS:/,/^GLOBAL/s/^   \([a-z-]*\)[ ,].*/\1/p')
for command in $known; do
	case $command in help) continue ;; esac
	grep -qE "(expect|refuse|lacks|id|eventually) ('[^']*'|\"[^\"]*\"|) *$command( |\$)|^id $command|crictl $command " "$0" ||
		say "$command is not tried"
done

echo "$checks checks, $failures failed"
[ $failures = 0 ]
