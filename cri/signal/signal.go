package signal

import (
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Signal is a signal by its number on this architecture and as the CRI names it.
type Signal struct {
	Number int
	CRI    runtimeapi.Signal
}

// Default is what asks a container to stop that names no signal.
var Default = Signal{15, runtimeapi.Signal_SIGNAL_SIGTERM}

// sigRTMin and sigRTMax are what glibc shows: the kernel's 32 and 33 belong to
// the thread library.
const sigRTMin, sigRTMax = 34, 64

// The numbers are Linux's on amd64 and arm64. The first name of a number is
// the one that the CRI answers with.
var signals = []struct {
	number int
	name   string
}{
	{6, "ABRT"}, {6, "IOT"}, {14, "ALRM"}, {7, "BUS"}, {17, "CHLD"}, {17, "CLD"}, {18, "CONT"},
	{8, "FPE"}, {1, "HUP"}, {4, "ILL"}, {2, "INT"}, {29, "IO"}, {29, "POLL"}, {9, "KILL"}, {13, "PIPE"},
	{27, "PROF"}, {30, "PWR"}, {3, "QUIT"}, {11, "SEGV"}, {16, "STKFLT"}, {19, "STOP"}, {31, "SYS"},
	{15, "TERM"}, {5, "TRAP"}, {20, "TSTP"}, {21, "TTIN"}, {22, "TTOU"}, {23, "URG"}, {10, "USR1"},
	{12, "USR2"}, {26, "VTALRM"}, {28, "WINCH"}, {24, "XCPU"}, {25, "XFSZ"},
}

// ByNumber returns the signal with the number, and whether there is one.
func ByNumber(n int) (Signal, bool) {
	for _, s := range signals {
		if s.number == n {
			return Signal{n, runtimeapi.Signal(runtimeapi.Signal_value["SIGNAL_SIG"+s.name])}, true
		}
	}
	if n < sigRTMin || n > sigRTMax {
		return Signal{}, false
	}
	name := "SIGNAL_SIGRTMIN"
	switch up, down := n-sigRTMin, sigRTMax-n; {
	case down == 0:
		name = "SIGNAL_SIGRTMAX"
	case up > 15:
		name = "SIGNAL_SIGRTMAXMINUS" + strconv.Itoa(down)
	case up > 0:
		name += "PLUS" + strconv.Itoa(up)
	}
	return Signal{n, runtimeapi.Signal(runtimeapi.Signal_value[name])}, true
}

// ByName reads a signal as images and people write it: "SIGTERM",
// "term", "15", "SIGRTMIN+3", "RTMAX-1".
func ByName(name string) (Signal, bool) {
	if n, err := strconv.Atoi(name); err == nil {
		return ByNumber(n)
	}
	name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
	for _, s := range signals {
		if s.name == name {
			return ByNumber(s.number)
		}
	}
	for _, rt := range []struct {
		name string
		base int
		sign string
	}{{"RTMIN", sigRTMin, "+"}, {"RTMAX", sigRTMax, "-"}} {
		rest, ok := strings.CutPrefix(name, rt.name)
		if !ok {
			continue
		}
		if rest == "" {
			return ByNumber(rt.base)
		}
		offset, err := strconv.Atoi(strings.TrimPrefix(rest, rt.sign))
		if err != nil || offset < 0 || offset > sigRTMax-sigRTMin || !strings.HasPrefix(rest, rt.sign) {
			return Signal{}, false
		}
		if rt.sign == "-" {
			offset = -offset
		}
		return ByNumber(rt.base + offset)
	}
	return Signal{}, false
}

// FromCRI returns the signal that a request names.
func FromCRI(s runtimeapi.Signal) (Signal, bool) {
	if s == runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		return Default, true
	}
	name, ok := runtimeapi.Signal_name[int32(s)]
	if !ok {
		return Signal{}, false
	}
	name = strings.TrimPrefix(name, "SIGNAL_")
	name = strings.Replace(name, "PLUS", "+", 1)
	name = strings.Replace(name, "MINUS", "-", 1)
	return ByName(name)
}

// String is the signal's name: "SIGTERM".
func (s Signal) String() string {
	for _, known := range signals {
		if known.number == s.Number {
			return "SIG" + known.name
		}
	}
	if s.Number == sigRTMin {
		return "SIGRTMIN"
	}
	return "SIGRTMIN+" + strconv.Itoa(s.Number-sigRTMin)
}
