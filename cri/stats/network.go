package stats

import (
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Network reads a /proc/PID/net/dev: the counters of all interfaces but the
// loopback, eth0 as the default one. A line that is not one is left out.
func Network(dev string, at time.Time) *runtimeapi.NetworkUsage {
	u := &runtimeapi.NetworkUsage{Timestamp: at.UnixNano()}
	for line := range strings.Lines(dev) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "lo" {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 11 {
			continue
		}
		i := &runtimeapi.NetworkInterfaceUsage{
			Name:    name,
			RxBytes: counter(f[0]), RxErrors: counter(f[2]),
			TxBytes: counter(f[8]), TxErrors: counter(f[10]),
		}
		if name == "eth0" {
			u.DefaultInterface = i
			continue
		}
		u.Interfaces = append(u.Interfaces, i)
	}
	return u
}

func counter(s string) *runtimeapi.UInt64Value {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return nil
	}
	return value(n)
}
