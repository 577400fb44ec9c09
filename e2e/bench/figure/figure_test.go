package figure

import (
	"strings"
	"testing"
)

func TestStat(t *testing.T) {
	var s Sample
	if got := s.Stat(); got != (Stat{}) {
		t.Errorf("nothing: %+v", got)
	}
	for v := 10.0; v > 0; v-- {
		s.Add(v)
	}
	want := Stat{N: 10, Median: 5.5, P90: 9, Min: 1}
	if got := s.Stat(); got != want {
		t.Errorf("ten values: %+v, want %+v", got, want)
	}
	if got := s.values[0]; got != 10 {
		t.Errorf("the values were sorted in place: the first is %v", got)
	}
}

func TestReached(t *testing.T) {
	for _, c := range []struct {
		target *Target
		v      float64
		want   bool
	}{
		{AtMost(6), 6, true}, {AtMost(6), 6.01, false}, {AtLeast(60), 60, true}, {AtLeast(60), 59.9, false},
	} {
		if got := c.target.Reached(c.v); got != c.want {
			t.Errorf("%+v of %v: %v", *c.target, c.v, got)
		}
	}
}

func section() Section {
	s := Section{Title: "phases", Columns: []string{"varve", "other"}}
	s.Add("pod up", "ms", AtMost(6), Stat{N: 9, Median: 5, P90: 7}, Stat{N: 9, Median: 50})
	s.Add("cycles", "pods/s", AtLeast(60), One(40), Stat{})
	s.Add("status", "ms", nil, Stat{}, One(3))
	return s
}

func TestPrint(t *testing.T) {
	var out strings.Builder
	section().Print(&out)
	want := []string{
		"phases",
		"varve p90 target other ratio",
		"pod up 5.00 7.00 ms <= 6.00 yes 50.0 10.0x",
		"cycles 40.0 pods/s >= 60.0 no -",
		"status - ms 3.00",
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for i, line := range lines {
		if got := strings.Join(strings.Fields(line), " "); got != want[i] {
			t.Errorf("line %d: %q, want %q", i, got, want[i])
		}
	}
}

func TestJSON(t *testing.T) {
	body, err := JSON([]Section{section()})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"target": 6`, `"reached": true`, `"reached": false`, `"other": {`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Count(string(body), `"target"`) != 2 {
		t.Errorf("a target where nothing was measured or wanted: %s", body)
	}
}
