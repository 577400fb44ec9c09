package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/varve-cri/varve/cmd/varve/show"
	"github.com/varve-cri/varve/cri/admin/client"
)

// print writes lines, or what they were made of when JSON was asked for.
func (p *program) print(v any, lines func() []string) error {
	if p.json {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(v)
	}
	for _, l := range lines() {
		if _, err := fmt.Println(l); err != nil {
			return err
		}
	}
	return nil
}

// asking makes a command that shows one answer of the daemon.
func (p *program) asking(use, short, long string, args cobra.PositionalArgs, ask func(context.Context, *client.Client, []string) error) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: usage(args),
		RunE: func(c *cobra.Command, args []string) error { return ask(c.Context(), p.client(), args) },
	}
	c.Flags().BoolVar(&p.json, "json", false, "write JSON")
	return c
}

func (p *program) pulls() *cobra.Command {
	watch := false
	c := p.asking("pulls", "lists the pulls that run and the last that ended",
		"pulls lists the pulls of varved since it started, the kubelet's too: those that run and the last that ended, the newest last.\n"+
			"With --watch it follows those that run and those that begin, until Ctrl-C.",
		cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			if watch {
				return p.watchPulls(ctx, c)
			}
			pulls, err := c.Pulls(ctx)
			if err != nil {
				return err
			}
			return p.print(pulls, func() []string { return show.Pulls(pulls, time.Now(), width()) })
		})
	c.Flags().BoolVarP(&watch, "watch", "w", false, "follow all pulls; with --json a line of JSON for each change")
	return c
}

func (p *program) images() *cobra.Command {
	return p.asking("images", "lists the images",
		"images lists the images by name. SIZE is what an image takes on the disk, UNIQUE the part that would be free without it.",
		cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			images, err := c.Images(ctx, "")
			if err != nil {
				return err
			}
			return p.print(images, func() []string { return show.Images(images, time.Now()) })
		})
}

func (p *program) layers() *cobra.Command {
	c := p.asking("layers [IMAGE]", "shows the layers as a tree",
		"layers shows all layers, or those of an image (a name, an id or the beginning of one), each below the layer that it stands on.\n"+
			"A layer that several images share is on the disk once.",
		cobra.MaximumNArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			ref := ""
			if len(args) > 0 {
				ref = args[0]
			}
			layers, err := c.Layers(ctx, ref)
			if err != nil {
				return err
			}
			return p.print(layers, func() []string { return show.Layers(layers, width()) })
		})
	c.ValidArgsFunction = p.completeImage
	return c
}

func (p *program) history() *cobra.Command {
	c := p.asking("history IMAGE", "tells how an image was made",
		"history tells the steps by which an image was made, the oldest first, with the layer that each left. A step without one changed\n"+
			"no files. The steps are what the image's maker says.",
		oneImage, func(ctx context.Context, c *client.Client, args []string) error {
			history, err := c.History(ctx, args[0])
			if err != nil {
				return err
			}
			return p.print(history, func() []string { return show.History(history, time.Now(), width()) })
		})
	c.ValidArgsFunction = p.completeImage
	return c
}

// completeImage gives the names of images to the shell.
func (p *program) completeImage(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		images, _ := p.client().Images(c.Context(), "") // a completion says nothing when it cannot
		for _, i := range images {
			names = append(names, i.Tags...)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (p *program) store() *cobra.Command {
	return p.asking("store", "tells how the image store is",
		"store tells what images and layers take, what is being deleted, and the orphans: what lies in the store's directories and belongs to\n"+
			"nothing. There should be none.",
		cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			store, err := c.Store(ctx)
			if err != nil {
				return err
			}
			return p.print(store, func() []string { return show.Store(store) })
		})
}

func (p *program) operations() *cobra.Command {
	return p.asking("operations", "tells what runs, and what it waits for",
		"operations lists the CRI operations and the pulls that run now, with the step that each is in: what a pod that does not start waits for.",
		cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			ops, err := c.Operations(ctx)
			if err != nil {
				return err
			}
			return p.print(ops, func() []string { return show.Operations(ops, time.Now(), width()) })
		})
}

func (p *program) reload() *cobra.Command {
	return p.asking("reload", "makes varved read its configuration again",
		"reload tells which fields of the configuration have changed, and which need a restart of varved to change. A bad file changes nothing.",
		cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Reload(ctx)
			if err != nil {
				return err
			}
			return p.print(r, func() []string { return show.Reload(r) })
		})
}

func (p *program) version() *cobra.Command {
	return p.asking("version", "says the versions of varve and varved", "", cobra.NoArgs,
		func(ctx context.Context, c *client.Client, _ []string) error {
			daemon, err := c.Version(ctx)
			both := map[string]string{"varve": version, "varved": daemon.Version}
			printed := p.print(both, func() []string {
				lines := []string{"varve  " + version}
				if err == nil {
					lines = append(lines, "varved "+daemon.Version)
				}
				return lines
			})
			return errors.Join(printed, err)
		})
}
