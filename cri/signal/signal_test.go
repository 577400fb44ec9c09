package signal

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestSignals(t *testing.T) {
	// Each signal of the CRI has a number, and that number its name again, or
	// the name of the one it is another name for.
	for n, name := range runtimeapi.Signal_name {
		s, ok := FromCRI(runtimeapi.Signal(n))
		if !ok || s.Number < 1 || s.Number > 64 {
			t.Errorf("%s is %+v", name, s)
			continue
		}
		again, ok := ByNumber(s.Number)
		if !ok || again != s {
			t.Errorf("%s is %+v, and %d is %+v", name, s, s.Number, again)
		}
		alias := map[string]bool{"SIGNAL_SIGCLD": true, "SIGNAL_SIGIOT": true, "SIGNAL_SIGPOLL": true, "SIGNAL_RUNTIME_DEFAULT": true}
		if again.CRI != runtimeapi.Signal(n) && !alias[name] {
			t.Errorf("%s comes back as %s", name, again.CRI)
		}
	}
	for name, want := range map[string]int{
		"SIGTERM": 15, "term": 15, "15": 15, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "rtmax-1": 63, "SIGRTMAX": 64, "64": 64, "SIGIO": 29,
		"": 0, "SIG": 0, "0": 0, "65": 0, "33": 0, "-1": 0, "SIGFOO": 0, "RTMIN-1": 0, "RTMIN+31": 0, "RTMAX+1": 0, "RTMIN+-1": 0, "RTMIN+x": 0,
	} {
		s, ok := ByName(name)
		if ok != (want != 0) || s.Number != want {
			t.Errorf("%q is %+v", name, s)
		}
	}
	if s := (Signal{Number: 37}).String(); s != "SIGRTMIN+3" {
		t.Errorf("37 is %s", s)
	}
}
