package show

import (
	"fmt"
	"time"

	"github.com/varve-cri/varve/imagestore/progress"
)

// every is how often Plain says how far a pull is while nothing else happens.
const every = 10 * time.Second

// Plain tells a pull in lines that stay, for logs: each layer's end, and now and
// then how far it is. The zero value is ready.
type Plain struct {
	begun bool
	said  time.Time
	ended map[int]bool
	told  map[string]bool // troubles
}

// trouble is told once.
func (p *Plain) trouble(of, text string) []string {
	line := "trouble: " + of + Clean(text)
	if text == "" || p.told[line] {
		return nil
	}
	p.told[line] = true
	return []string{line}
}

// Lines gives what is new in a state.
func (p *Plain) Lines(s progress.State, now time.Time) (lines []string) {
	if !p.begun {
		p.begun, p.said, p.ended, p.told = true, now, map[int]bool{}, map[string]bool{}
		lines = append(lines, "pulling "+Clean(s.Reference))
	}
	lines = append(lines, p.trouble("", s.Trouble)...)
	for i, l := range s.Layers {
		lines = append(lines, p.trouble(Short(l.Digest)+": ", l.Trouble)...)
		if !l.Stage.Ended() || p.ended[i] {
			continue
		}
		p.ended[i] = true
		line := fmt.Sprintf("layer %d of %d %s: %s, %s", i+1, len(s.Layers), Short(l.Digest), stageWord(l), Bytes(uint64(max(0, l.Total))))
		if l.Retries+l.Resumes > 0 {
			line += ", " + troubles(l.Retries, l.Resumes)
		}
		lines = append(lines, line)
	}
	if s.Stage.Ended() || now.Sub(p.said) >= every {
		lines = append(lines, summary(s))
	}
	if len(lines) > 0 {
		p.said = now
	}
	return lines
}
