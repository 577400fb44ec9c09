package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/varve-cri/varve/cmd/varve/show"
	"github.com/varve-cri/varve/cmd/varve/terminal"
	"github.com/varve-cri/varve/cri/admin/client"
	"github.com/varve-cri/varve/imagestore/progress"
)

// watchPulls follows all pulls until ctx ends.
func (p *program) watchPulls(ctx context.Context, c *client.Client) error {
	err := c.WatchPulls(ctx, p.follower())
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // that is how one stops watching
	case err == nil:
		return errors.New("varved ended")
	}
	return err
}

func (p *program) follower() func(progress.State) error {
	switch {
	case p.json:
		out := json.NewEncoder(os.Stdout)
		return func(s progress.State) error { return out.Encode(s) }
	case terminal.Is(os.Stdout):
		b := board{screen: terminal.NewScreen(os.Stdout)}
		return b.show
	}
	return journal{os.Stdout, map[string]*show.Plain{}}.tell
}

// board has a line for each pull that runs, below those of the pulls that ended.
type board struct {
	screen  *terminal.Screen
	running []progress.State
}

func (b *board) show(s progress.State) error {
	b.running = slices.DeleteFunc(b.running, func(r progress.State) bool { return r.ID == s.ID })
	if s.Stage.Ended() {
		if err := b.screen.Draw(func(int, int) []string { return []string{show.PullLine(s, 0)} }); err != nil {
			return err
		}
		b.screen.Keep()
	} else {
		b.running = append(b.running, s)
	}
	slices.SortFunc(b.running, func(a, c progress.State) int { return a.Started.Compare(c.Started) })
	return b.screen.Draw(func(width, height int) []string {
		var lines []string
		for _, r := range b.running[:min(len(b.running), height-1)] {
			lines = append(lines, show.PullLine(r, width))
		}
		return lines
	})
}

// journal tells all pulls in lines that stay.
type journal struct {
	out   io.Writer
	pulls map[string]*show.Plain
}

func (j journal) tell(s progress.State) error {
	plain := j.pulls[s.ID]
	if plain == nil {
		plain = &show.Plain{}
		j.pulls[s.ID] = plain
	}
	if s.Stage.Ended() {
		delete(j.pulls, s.ID)
	}
	for _, line := range plain.Lines(s, time.Now()) {
		if _, err := fmt.Fprintf(j.out, "%s: %s\n", s.ID, line); err != nil {
			return err
		}
	}
	return nil
}
