package flat

import (
	"maps"
	"testing"
)

func TestNumber(t *testing.T) {
	for text, want := range map[string]uint64{"0\n": 0, " 42 ": 42, "max\n": Unlimited, "-1": Unlimited, "": 0, "12x": 0, "18446744073709551615": Unlimited} {
		if got := Number([]byte(text)); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}

func TestFields(t *testing.T) {
	got := map[string]uint64{}
	Fields([]byte("low 0\nmax 3\nalone\noom_kill 2"), func(key string, value uint64) { got[key] = value })
	if want := map[string]uint64{"low": 0, "max": 3, "oom_kill": 2}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
