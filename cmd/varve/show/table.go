package show

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/imagestore/progress"
)

// table lays rows out in columns, the last of them cut so that no line is wider
// than width; 0 is no bound.
func table(width int, rows [][]string) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		_, _ = w.Write([]byte(strings.Join(row, "\t") + "\n")) // a Builder takes all
	}
	_ = w.Flush()
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
		if width > 0 {
			lines[i] = cut(lines[i], width)
		}
	}
	return lines
}

// Pulls is a table of pulls, the newest last.
func Pulls(pulls []progress.State, now time.Time, width int) []string {
	if len(pulls) == 0 {
		return []string{"no pulls since varved started"}
	}
	rows := [][]string{{"ID", "IMAGE", "STARTED", "STATE"}}
	for _, p := range pulls {
		state := summary(p)[len(Clean(p.Reference)):]
		_, state, _ = strings.Cut(state, ": ")
		if p.Stage == progress.Failed {
			state = "failed: " + Clean(p.Error)
		}
		rows = append(rows, []string{p.ID, Clean(p.Reference), Age(p.Started, now), state})
	}
	return table(width, rows)
}

// PullLine is one pull in one line, for following all of them.
func PullLine(s progress.State, width int) string {
	line := "pull " + s.ID + ": " + summary(s)
	if s.Stage == progress.Failed {
		line += ": " + Clean(s.Error)
	}
	if width > 0 {
		line = cut(line, width)
	}
	return line
}

// Images is a table of images: a line for each name.
func Images(images []wire.Image, now time.Time) []string {
	if len(images) == 0 {
		return []string{"no images; varve pull IMAGE brings one"}
	}
	rows := [][]string{{"IMAGE", "ID", "LAYERS", "SIZE", "UNIQUE", "PULLED"}}
	for _, i := range images {
		names := i.Tags
		if len(names) == 0 {
			names = i.Digests
		}
		if len(names) == 0 {
			names = []string{"<no name>"}
		}
		pinned := ""
		if i.Pinned {
			pinned = " (pinned)"
		}
		for _, name := range names {
			rows = append(rows, []string{
				shortName(name) + pinned, Short(i.ID), fmt.Sprint(len(i.Layers)), Bytes(i.Size), Bytes(i.Unique), Age(i.Pulled, now),
			})
		}
	}
	return table(0, rows) // the end of a name is what tells it from others
}

// shortName is a name whose digest, if it has one, is as long as people read.
func shortName(name string) string {
	repository, digest, ok := strings.Cut(Clean(name), "@")
	if !ok {
		return repository
	}
	return repository + "@" + Short(digest)
}

// History is how an image was made, oldest step first.
func History(h wire.History, now time.Time, width int) []string {
	rows := [][]string{{"LAYER", "SIZE", "MADE", "BY"}}
	for _, s := range h.Steps {
		layer, size, made := "-", "", ""
		if s.Layer != "" {
			layer, size = Short(s.Layer), Bytes(s.Size)
		}
		if s.Created != nil && s.Created.Unix() > 0 { // reproducible builds say 1970, or nothing
			made = Age(*s.Created, now)
		}
		by := Clean(s.CreatedBy)
		if s.Comment != "" {
			by = strings.TrimSpace(by + " # " + Clean(s.Comment))
		}
		rows = append(rows, []string{layer, size, made, by})
	}
	return table(width, rows)
}

// Store is the image store in a few lines.
func Store(s wire.Store) []string {
	rows := [][]string{
		{"directory", s.Root},
		{"layer format", s.Format + " (" + s.FormatReason + ")"},
		{"images", fmt.Sprint(s.Images)},
		{"layers", fmt.Sprintf("%d, %s in %d inodes", s.Layers, Bytes(s.Bytes), s.Inodes)},
		{"containers", fmt.Sprint(s.Containers)},
		{"file system", fmt.Sprintf("%s free of %s", Bytes(s.Free), Bytes(s.Total))},
		{"being deleted", plural(s.TrashPending, "thing")},
		{"orphans", fmt.Sprint(len(s.Orphans))},
		{"damaged layers", fmt.Sprint(len(s.Damaged))},
	}
	lines := table(0, rows)
	for _, o := range s.Orphans {
		lines = append(lines, "  orphan "+Clean(o))
	}
	for _, d := range s.Damaged {
		lines = append(lines, fmt.Sprintf("  damaged %s of %s: %s", Short(d.Layer), Clean(strings.Join(d.Images, ", ")), Clean(d.Problem)))
	}
	if len(s.Damaged) > 0 {
		lines = append(lines, "  varve pull IMAGE fetches a damaged layer again")
	}
	return lines
}

// Operations is a table of what runs.
func Operations(ops []wire.Operation, now time.Time, width int) []string {
	if len(ops) == 0 {
		return []string{"nothing runs"}
	}
	rows := [][]string{{"OPERATION", "OBJECT", "FOR", "STEP"}}
	for _, o := range ops {
		step := fmt.Sprintf("%d of %d: %s", o.Index+1, o.Steps, o.Step)
		if o.Detail != "" {
			step += " (" + Clean(o.Detail) + ")"
		}
		if o.Undoing {
			step = "undoing " + step
		}
		rows = append(rows, []string{o.Verb, Clean(o.Object), Age(o.Since, now), step})
	}
	return table(width, rows)
}

// Reload says what a changed configuration has come to.
func Reload(r wire.Reload) []string {
	var lines []string
	for _, field := range r.Changed {
		lines = append(lines, Clean(field)+" has changed")
	}
	for _, field := range r.NeedsRestart {
		lines = append(lines, Clean(field)+" needs a restart of varved to change")
	}
	if len(lines) == 0 {
		lines = []string{"nothing has changed"}
	}
	return lines
}
