package imagestore

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// history is what was done to a store and seen in it. Each thing that can be
// there or not (a name, an id, a container) is a register of one bit; an operation
// has a moment when it was asked for and one when it was answered, and took effect
// at some moment in between.
type history struct {
	next   int
	open   map[int]*operation // asked for, not answered
	seen   map[string][]sight
	writes map[string][]sight
}

type operation struct {
	asked int
	may   []claim
}

// claim says that a thing is there, or is not.
type claim struct {
	Key string
	Is  bool
}

// sight is a claim with the moments between which it was true, or was made true.
type sight struct {
	from, to int
	is       bool
}

func newHistory() *history {
	return &history{open: map[int]*operation{}, seen: map[string][]sight{}, writes: map[string][]sight{}}
}

func (h *history) tick() int { h.next++; return h.next }

// ask notes the beginning of an operation, and what it may make true.
func (h *history) ask(op int, may []claim) { h.open[op] = &operation{h.tick(), may} }

// answer notes its end: whether it may have had its effect, and what was true at
// some moment of it.
func (h *history) answer(op int, done bool, saw []claim) {
	o := h.open[op]
	delete(h.open, op)
	to := h.tick()
	for _, c := range saw {
		h.seen[c.Key] = append(h.seen[c.Key], sight{o.asked, to, c.Is})
	}
	if done {
		h.wrote(o, to)
	}
}

func (h *history) wrote(o *operation, to int) {
	for _, c := range o.may {
		h.writes[c.Key] = append(h.writes[c.Key], sight{o.asked, to, c.Is})
	}
}

// crash ends all operations: each has had its effect, or has not.
func (h *history) crash() {
	to := h.tick()
	for _, o := range h.open {
		h.wrote(o, to)
	}
	clear(h.open)
}

// check looks for a thing that was seen to be one way, then the other, with no
// operation that could have changed it in between. What it finds is an error; not
// everything that is one is found.
func (h *history) check() (wrong []string) {
	for key, seen := range h.seen {
		// At the beginning nothing is there.
		all := append([]sight{{0, 0, false}}, seen...)
		slices.SortStableFunc(all, func(a, b sight) int { return a.to - b.to })
		latest := [2]int{math.MinInt, math.MinInt} // the latest beginning of a sight of each kind
		byFrom := slices.Clone(all)
		slices.SortStableFunc(byFrom, func(a, b sight) int { return a.from - b.from })
		i := 0
		for _, s := range byFrom {
			for ; i < len(all) && all[i].to < s.from; i++ {
				k := kindOfSight(all[i].is)
				latest[k] = max(latest[k], all[i].from)
			}
			before := latest[kindOfSight(!s.is)]
			if before != math.MinInt && !h.changed(key, s, before) {
				wrong = append(wrong, fmt.Sprintf("%s: is there: %t at %d-%d, was not so at %d, and nothing changed it", key, s.is, s.from, s.to, before))
			}
		}
	}
	return wrong
}

func kindOfSight(is bool) int {
	if is {
		return 1
	}
	return 0
}

// changed tells whether a write can have come after the moment and before the end
// of the sight.
func (h *history) changed(key string, s sight, after int) bool {
	return slices.ContainsFunc(h.writes[key], func(w sight) bool { return w.is == s.is && w.to > after && w.from < s.to })
}

// forget keeps the newest sight of everything, when no operation is under way.
func (h *history) forget() {
	for key, seen := range h.seen {
		h.seen[key] = []sight{slices.MaxFunc(seen, func(a, b sight) int { return a.from - b.from })}
		if !h.seen[key][0].is {
			delete(h.seen, key) // as at the beginning
		}
	}
	for key := range h.writes {
		if h.writes[key] = nil; len(h.seen[key]) > 0 {
			s := h.seen[key][0]
			h.writes[key] = []sight{s}
		} else {
			delete(h.writes, key)
		}
	}
}

// known are all things that were heard of.
func (h *history) known() (keys []string) {
	for key := range h.seen {
		keys = append(keys, key)
	}
	for key := range h.writes {
		if h.seen[key] == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestHistory(t *testing.T) {
	is := func(v bool) []claim { return []claim{{"x", v}} }
	for name, c := range map[string]struct {
		play func(h *history)
		ok   bool
	}{
		"pull, get": {func(h *history) {
			h.ask(1, is(true))
			h.answer(1, true, is(true))
			h.ask(2, nil)
			h.answer(2, true, is(true))
		}, true},
		"out of nothing": {func(h *history) { h.ask(2, nil); h.answer(2, true, is(true)) }, false},
		"of a failed one": {func(h *history) {
			h.ask(1, is(true))
			h.answer(1, false, nil)
			h.ask(2, nil)
			h.answer(2, true, is(true))
		}, false},
		"lost": {func(h *history) {
			h.ask(1, is(true))
			h.answer(1, true, is(true))
			h.ask(2, nil)
			h.answer(2, true, is(false))
		}, false},
		"either while it is under way": {func(h *history) {
			h.ask(1, is(true))
			for i, v := range []bool{false, true, true} {
				h.ask(9+i, nil)
				h.answer(9+i, true, is(v))
			}
			h.answer(1, true, is(true))
		}, true},
		"there and gone again while it is under way": {func(h *history) {
			h.ask(1, is(true))
			for i, v := range []bool{true, false} {
				h.ask(9+i, nil)
				h.answer(9+i, true, is(v))
			}
			h.answer(1, true, is(true))
		}, false},
		"cut off by a crash": {func(h *history) { h.ask(1, is(true)); h.crash(); h.ask(2, nil); h.answer(2, true, is(true)) }, true},
		"a removal of before": {func(h *history) {
			h.ask(0, is(false))
			h.answer(0, true, is(false))
			h.ask(1, is(true))
			h.answer(1, true, is(true))
			h.forget()
			h.ask(2, nil)
			h.answer(2, true, is(false))
		}, false},
	} {
		h := newHistory()
		c.play(h)
		if wrong := h.check(); (len(wrong) == 0) != c.ok {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}
