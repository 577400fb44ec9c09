package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Line is the values of one runtime; Y[i] was measured X[i] seconds after the
// beginning. NaN is a value that is not known.
type Line struct {
	Name string
	X, Y []float64
}

// Panel is one quantity.
type Panel struct {
	Title string // "memory of the daemon, MiB"
	Lines []Line
}

// The drawing, in pixels.
const (
	width    = 860
	left     = 64  // of the values' axis
	right    = 120 // for the lines' names
	top      = 56
	height   = 150 // of a panel's plot
	distance = 52  // from one panel to the next
)

// colors are those of the lines, by index: blue, then what goes with it and can
// be told apart by everybody (Okabe and Ito, 2008).
var colors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// SVG draws the panels under a title.
func SVG(title string, panels []Panel) []byte {
	var b strings.Builder
	tall := top + len(panels)*(height+distance)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", width, tall)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><text x="%d" y="24" font-size="15">%s</text>`+"\n", width, tall, left, html.EscapeString(title))
	end := lastX(panels)
	for i, p := range panels {
		p.draw(&b, top+i*(height+distance), end)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func lastX(panels []Panel) float64 {
	end := 1.0
	for _, p := range panels {
		for _, l := range p.Lines {
			for _, x := range l.X {
				end = math.Max(end, x)
			}
		}
	}
	return end
}

func (p Panel) draw(b *strings.Builder, y0 int, end float64) {
	step := nice(p.highest() / 4)
	high := step * math.Ceil(p.highest()/step)
	at := func(x, y float64) (float64, float64) {
		return left + x/end*(width-left-right), float64(y0+height) - y/high*height
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, y0-8, html.EscapeString(p.Title))
	for v := 0.0; v <= high+step/2; v += step {
		_, y := at(0, v)
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y, width-right, left-6, y+4, number(v))
	}
	for t := 0.0; t <= end; t += tick(end) {
		x, y := at(t, 0)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#666">%s</text>`+"\n", x, y+16, clock(t))
	}
	for i, l := range p.Lines {
		l.draw(b, colors[i%len(colors)], at)
	}
}

func (l Line) draw(b *strings.Builder, color string, at func(x, y float64) (float64, float64)) {
	var path strings.Builder
	move, x, y := "M", 0.0, 0.0
	for i := range l.X {
		if math.IsNaN(l.Y[i]) {
			move = "M"
			continue
		}
		x, y = at(l.X[i], l.Y[i])
		fmt.Fprintf(&path, "%s%.1f %.1f", move, x, y)
		move = "L"
	}
	if path.Len() == 0 {
		return
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/><text x="%.1f" y="%.1f" fill="%[2]s">%[5]s</text>`+"\n",
		path.String(), color, x+6, y+4, html.EscapeString(l.Name))
}

func (p Panel) highest() float64 {
	high := 1.0
	for _, l := range p.Lines {
		for _, y := range l.Y {
			if !math.IsNaN(y) {
				high = math.Max(high, y)
			}
		}
	}
	return high
}

// nice is the smallest of 1, 2, 5 times a power of ten that is not below v.
func nice(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}

// tick is the distance of the times that are written on the axis: a round one, of
// which there are at most ten.
func tick(end float64) float64 {
	for _, t := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800} {
		if end/t <= 10 {
			return t
		}
	}
	return 3600 * math.Ceil(end/36000)
}

func number(v float64) string { return fmt.Sprintf("%.4g", v) }

// clock is a time since the beginning as minutes and seconds.
func clock(t float64) string {
	return fmt.Sprintf("%d:%02d", int(t)/60, int(t)%60)
}
