package stats

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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

// A pod that may administer its network can make as many interfaces as it likes, with
// any bytes in their names. Neither may spoil the answer for the node's other pods: a
// string of a message must be UTF-8, and the kubelet takes 16 MiB.
const (
	maxInterfaces = 64
	maxDev        = 64 << 10 // bytes of /proc/net/dev
)

// Networks are the interfaces of each network namespace that is pinned by a file,
// without the loopback; nil for one that is not there, and for "".
func Networks(pins []string) [][]Interface {
	all := make([][]Interface, len(pins))
	namespace.Visit(pins, func(i int) {
		if dev, err := readDev(); err == nil {
			all[i] = interfaces(string(dev))
		}
	})
	return all
}

func readDev() ([]byte, error) {
	f, err := os.Open("/proc/thread-self/net/dev")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxDev))
}

// interfaces reads a /proc/net/dev. A line that is not one, or is cut off, is left out.
func interfaces(dev string) []Interface {
	all := []Interface{}
	for line := range strings.Lines(dev) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "lo" || len(all) == maxInterfaces || !strings.HasSuffix(line, "\n") {
			continue
		}
		if !utf8.ValidString(name) {
			name = strings.Trim(strconv.QuoteToASCII(name), `"`)
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
