package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	text := string(SVG("a & b", []Panel{
		{Title: "memory, MiB", Lines: []Line{
			{Name: "varve", X: []float64{0, 300, 600}, Y: []float64{20, 40, 20}},
			{Name: "<other>", X: []float64{0, 300, 600}, Y: []float64{10, math.NaN(), 30}},
		}},
		{Title: "nothing", Lines: []Line{{Name: "absent"}}},
	}))
	elements := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok {
			elements[e.Name.Local]++
		}
	}
	for _, want := range []string{
		"a &amp; b", "&lt;other&gt;", ">10:00<",
		`d="M64.0 131.0L402.0 56.0L740.0 131.0"`, // 20, 40, 20 of 40
		`d="M64.0 168.5M740.0 93.5"`,             // the gap is not drawn over
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "absent") || elements["svg"] != 1 {
		t.Errorf("a line without values is drawn:\n%s", text)
	}
}

func TestNice(t *testing.T) {
	for v, want := range map[float64]float64{1: 1, 1.1: 2, 2.5: 5, 6: 10, 60: 100, 0.03: 0.05} {
		if got := nice(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("nice(%v) = %v, want %v", v, got, want)
		}
	}
}

func TestTick(t *testing.T) {
	for end, want := range map[float64]float64{8: 1, 40: 5, 600: 60, 3600: 600, 360000: 36000} {
		if got := tick(end); got != want {
			t.Errorf("tick(%v) = %v, want %v", end, got, want)
		}
	}
}
