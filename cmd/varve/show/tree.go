package show

import (
	"fmt"
	"strings"

	"github.com/varve-cri/varve/cri/admin/wire"
)

// Layers is the layers as a tree: a layer stands below its parent, further to the
// right only where several stand on one:
//
//	o the lowest
//	| its only child
//	|-o one of two
//	| | the only child of that one
//	`-o the other
func Layers(layers []wire.Layer, width int) []string {
	if len(layers) == 0 {
		return []string{"no layers"}
	}
	t := tree{children: map[string][]wire.Layer{}}
	known := map[string]bool{}
	for _, l := range layers {
		known[key(l.ID, l.Format)] = true
	}
	var roots []wire.Layer
	for _, l := range layers {
		if parent := key(l.Parent, l.Format); known[parent] {
			t.children[parent] = append(t.children[parent], l)
		} else {
			roots = append(roots, l)
		}
	}
	for _, l := range roots {
		t.run(l, "", "")
	}
	lines := table(width, t.rows)
	return append(lines, "", totals(layers))
}

func key(id, format string) string { return id + " " + format }

type tree struct {
	children map[string][]wire.Layer
	rows     [][]string
}

// run adds a layer and those that stand on it, one upon the other, and then the
// branches of the last. first is what stands before the layer's mark, rest what
// stands before those below it.
func (t *tree) run(l wire.Layer, first, rest string) {
	t.add(first+"o ", l)
	for {
		next := t.children[key(l.ID, l.Format)]
		if len(next) != 1 {
			for i, branch := range next {
				if i < len(next)-1 {
					t.run(branch, rest+"|-", rest+"| ")
				} else {
					t.run(branch, rest+"`-", rest+"  ")
				}
			}
			return
		}
		l = next[0]
		t.add(rest+"| ", l)
	}
}

func (t *tree) add(mark string, l wire.Layer) {
	if len(t.rows) == 0 {
		t.rows = append(t.rows, []string{"LAYER", "SIZE", "IMAGES", "MADE BY"})
	}
	by := ""
	if l.Step != nil {
		by = Clean(l.Step.CreatedBy)
	}
	t.rows = append(t.rows, []string{mark + Short(l.ID), Bytes(l.Size), users(l), by})
}

// users says in how many images a layer is.
func users(l wire.Layer) string {
	switch len(l.Images) {
	case 0:
		return "none"
	case 1:
		return "1"
	}
	return fmt.Sprintf("%d share", len(l.Images))
}

// totals adds the sizes up; content that several layers have counts once.
func totals(layers []wire.Layer) string {
	type content struct {
		size   uint64
		images map[string]bool
	}
	trees := map[string]*content{}
	for _, l := range layers {
		c := trees[l.Tree]
		if c == nil {
			c = &content{size: l.Size, images: map[string]bool{}}
			trees[l.Tree] = c
		}
		for _, i := range l.Images {
			c.images[i] = true
		}
	}
	var all, shared, unique, loose uint64
	for _, c := range trees {
		all += c.size
		switch len(c.images) {
		case 0:
			loose += c.size
		case 1:
			unique += c.size
		default:
			shared += c.size
		}
	}
	parts := []string{Bytes(unique) + " in one image", Bytes(shared) + " shared"}
	if loose > 0 {
		parts = append(parts, Bytes(loose)+" in no image, kept for the next pull")
	}
	return fmt.Sprintf("%s, %s: %s", plural(len(layers), "layer"), Bytes(all), strings.Join(parts, ", "))
}
