package stats

import (
	"os"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/network"
	"github.com/varve-cri/varve/runtime/namespace"
)

// Interface is the counters of one network interface.
type Interface struct {
	Name                                    string
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// Networks are the interfaces of each network namespace that is pinned by a file,
// without the loopback; nil for one that is not there, and for "".
func Networks(pins []string) [][]Interface {
	all := make([][]Interface, len(pins))
	namespace.Visit(pins, func(i int) {
		if dev, err := os.ReadFile("/proc/thread-self/net/dev"); err == nil {
			all[i] = interfaces(string(dev))
		}
	})
	return all
}

// interfaces reads a /proc/net/dev. A line that is not one is left out.
func interfaces(dev string) []Interface {
	all := []Interface{}
	for line := range strings.Lines(dev) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "lo" {
			continue
		}
		i := Interface{Name: name}
		into := [...]*uint64{0: &i.RxBytes, &i.RxPackets, &i.RxErrors, &i.RxDropped, 8: &i.TxBytes, &i.TxPackets, &i.TxErrors, &i.TxDropped}
		n := 0
		for word := range strings.FieldsSeq(rest) {
			if n < len(into) && into[n] != nil {
				*into[n], _ = strconv.ParseUint(word, 10, 64) // 0 for what is no number
			}
			n++
		}
		if n >= len(into) {
			all = append(all, i)
		}
	}
	return all
}

// Network is the use of all interfaces: that which the plugins were asked to make
// is the default one.
func Network(all []Interface, at time.Time) *runtimeapi.NetworkUsage {
	u := &runtimeapi.NetworkUsage{Timestamp: at.UnixNano()}
	for _, i := range all {
		one := &runtimeapi.NetworkInterfaceUsage{
			Name:    i.Name,
			RxBytes: value(i.RxBytes), RxErrors: value(i.RxErrors), TxBytes: value(i.TxBytes), TxErrors: value(i.TxErrors),
		}
		if i.Name == network.Interface {
			u.DefaultInterface = one
			continue
		}
		u.Interfaces = append(u.Interfaces, one)
	}
	return u
}
