package show

import (
	"fmt"
	"strings"
	"time"

	"github.com/varve-cri/varve/imagestore/progress"
)

// The columns of a layer's line that have a fixed width: the digest, what came of
// what, the rate, the stage, and the spaces and brackets between.
const (
	digestWidth = 12
	bytesWidth  = 19 // "99.9 MiB/99.9 MiB" and some
	rateWidth   = 11 // "99.9 MiB/s"
	stageWidth  = 12 // "already here"
	narrowest   = 10 // of a bar; without that much room there is none
	widest      = 40
)

// Bars is a pull as lines of a terminal: what it is about first, then a line for
// each layer. No line is wider than width. While the pull runs there are fewer
// than height of them: ends that nobody needs to watch are left out, and counted.
func Bars(s progress.State, width, height int) []string {
	lines := []string{cut(summary(s), width)}
	room := max(1, height-2) // the summary, and the line with the cursor
	layers := s.Layers
	var hidden string
	if len(layers) > room && !s.Stage.Ended() {
		layers, hidden = busiest(layers, room-1)
	}
	for _, l := range layers {
		lines = append(lines, layerLine(l, width))
	}
	if hidden != "" {
		lines = append(lines, cut(hidden, width))
	}
	return lines
}

// summary is one line for the whole pull.
func summary(s progress.State) string {
	var b strings.Builder
	b.WriteString(Clean(s.Reference))
	if s.Platform != "" {
		b.WriteString(" (" + s.Platform + ")")
	}
	b.WriteString(": ")
	switch s.Stage {
	case progress.Resolving:
		b.WriteString("asking the registry")
	case progress.Config:
		b.WriteString("reading the config")
	case progress.Layers:
		ended := 0
		for _, l := range s.Layers {
			if l.Stage.Ended() {
				ended++
			}
		}
		fmt.Fprintf(&b, "%d of %s, %s", ended, plural(len(s.Layers), "layer"), ofTotal(s.Fetched, toFetch(s)))
		if s.Rate > 0 {
			fmt.Fprintf(&b, ", %s/s", Bytes(uint64(s.Rate)))
			if left := toFetch(s) - s.Fetched; left > 0 {
				fmt.Fprintf(&b, ", %s left", took(time.Duration(float64(left)/float64(s.Rate)*float64(time.Second))))
			}
		}
	case progress.Joining:
		b.WriteString("joining the layers")
	case progress.Commit:
		b.WriteString("writing the image down")
	default:
		b.WriteString(Result(s))
	}
	if s.Retries+s.Resumes > 0 && !s.Stage.Ended() {
		fmt.Fprintf(&b, " (%s)", troubles(s.Retries, s.Resumes))
	}
	// Who waits for an answer is told what the last one was.
	if s.Trouble != "" && (s.Stage == progress.Resolving || s.Stage == progress.Config) {
		b.WriteString(": " + Clean(s.Trouble))
	}
	return b.String()
}

// Result is how a pull ended, in words.
func Result(s progress.State) string {
	switch {
	case s.Stage == progress.Failed && s.Kind == "canceled":
		return "canceled"
	case s.Stage == progress.Failed:
		return "failed"
	case s.Unchanged:
		return "is up to date"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "done, %s", plural(len(s.Layers), "layer"))
	if s.Fetched > 0 {
		fmt.Fprintf(&b, ", %s fetched", Bytes(uint64(max(0, s.Fetched-s.Kept))))
	}
	if s.Kept > 0 {
		fmt.Fprintf(&b, " and %s kept from before", Bytes(uint64(s.Kept)))
	}
	if s.Ended != nil {
		fmt.Fprintf(&b, " in %s", took(s.Ended.Sub(s.Started)))
	}
	if s.Retries+s.Resumes > 0 {
		fmt.Fprintf(&b, ", %s", troubles(s.Retries, s.Resumes))
	}
	return b.String()
}

// toFetch is the bytes of the layers that are not here already.
func toFetch(s progress.State) (n int64) {
	for _, l := range s.Layers {
		if l.Stage != progress.LayerPresent {
			n += l.Total
		}
	}
	return n
}

func troubles(retries, resumes int64) string {
	var parts []string
	if retries > 0 {
		parts = append(parts, fmt.Sprintf("%d asked again", retries))
	}
	if resumes > 0 {
		parts = append(parts, fmt.Sprintf("%d resumed", resumes))
	}
	return strings.Join(parts, ", ")
}

// stageWords are what people read for a layer's stage.
var stageWords = map[progress.LayerStage]string{
	progress.LayerPresent: "already here",
}

func stageWord(l progress.LayerState) string {
	if w, ok := stageWords[l.Stage]; ok {
		return w
	}
	if l.Shared && !l.Stage.Ended() {
		return "shared" // with another pull, which fetches it
	}
	return string(l.Stage)
}

// ofTotal is "1.2 MiB/49.1 MiB".
func ofTotal(n, total int64) string {
	return Bytes(uint64(max(0, n))) + "/" + Bytes(uint64(max(0, total)))
}

// layerLine is one layer. What there is no room for is left out, the bar first.
func layerLine(l progress.LayerState, width int) string {
	digest, stage := Short(l.Digest), stageWord(l)
	bytes, rate := ofTotal(l.Fetched, l.Total), ""
	if l.Stage.Ended() {
		bytes = Bytes(uint64(max(0, l.Total)))
	}
	if l.Rate > 0 {
		rate = Bytes(uint64(l.Rate)) + "/s"
	}
	if l.Retries+l.Resumes > 0 {
		stage += " (" + troubles(l.Retries, l.Resumes) + ")"
	}
	fixed := digestWidth + 1 + 2 + 1 + bytesWidth + 1 + rateWidth + 1 + stageWidth
	var line string
	switch room := min(widest, width-fixed); {
	case room >= narrowest:
		line = fmt.Sprintf("%-*s [%s] %*s %*s %s", digestWidth, digest, bar(l, room), bytesWidth, bytes, rateWidth, rate, stage)
	case width >= fixed-2:
		line = fmt.Sprintf("%-*s %*s %*s %s", digestWidth, digest, bytesWidth, bytes, rateWidth, rate, stage)
	default:
		line = fmt.Sprintf("%-*s %s %s", digestWidth, digest, bytes, stage)
	}
	return strings.TrimRight(cut(line, width), " ")
}

// bar fills with what was fetched. Only a layer that is done is full to the end.
func bar(l progress.LayerState, width int) string {
	switch l.Stage {
	case progress.LayerDone, progress.LayerPresent, progress.LayerSyncing, progress.LayerUnpacking:
		return strings.Repeat("=", width)
	}
	if l.Total <= 0 || l.Fetched <= 0 {
		return strings.Repeat(" ", width)
	}
	full := min(width-1, int(float64(width)*float64(l.Fetched)/float64(l.Total)))
	return strings.Repeat("=", full) + ">" + strings.Repeat(" ", width-full-1)
}

// busiest keeps n layers, in their order, those that move before those that wait
// before those that ended, and says what the others do.
func busiest(layers []progress.LayerState, n int) (kept []progress.LayerState, others string) {
	rank := func(l progress.LayerState) int {
		switch {
		case l.Stage == progress.LayerFailed:
			return 0
		case l.Stage.Ended():
			return 3
		case l.Stage == progress.LayerWaiting:
			return 2
		}
		return 1
	}
	keep := map[int]bool{}
	for r := 0; r < 4; r++ {
		for i, l := range layers {
			if len(keep) < n && rank(l) == r {
				keep[i] = true
			}
		}
	}
	waiting, ended := 0, 0
	for i, l := range layers {
		switch {
		case keep[i]:
			kept = append(kept, l)
		case l.Stage.Ended():
			ended++
		default:
			waiting++
		}
	}
	return kept, fmt.Sprintf("and %s more: %d ended, %d to come", plural(waiting+ended, "layer"), ended, waiting)
}
