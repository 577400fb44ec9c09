package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/varve-cri/varve/cmd/varve/show"
	"github.com/varve-cri/varve/cmd/varve/terminal"
	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/reference"
	"github.com/varve-cri/varve/imagestore/registry/credentials"
)

const pullAbout = `pull brings an image from its registry and shows the progress: a line for each layer on a terminal, a line now and then
anywhere else. The image's id goes to the standard output, all else to the standard error.

Credentials for the registry are taken from $DOCKER_CONFIG/config.json or ~/.docker/config.json, with its credential helpers.
Ctrl-C ends the pull, unless someone else waits for the same layers; layers that are complete are kept for a while.`

func (p *program) pull() *cobra.Command {
	var request wire.PullRequest
	var quiet bool
	c := &cobra.Command{
		Use: "pull IMAGE", Short: "brings an image from its registry", Long: pullAbout,
		Example: "  varve pull docker.io/library/busybox:1.37\n  varve pull --platform linux/arm64 registry.example/team/app@sha256:...\n  id=$(varve pull --quiet busybox)",
		Args:    oneImage,
		RunE: func(c *cobra.Command, args []string) error {
			if quiet && p.json {
				return &usageError{errors.New("pull: --quiet and --json say different things")}
			}
			request.Image = args[0]
			auth, err := credentialsFor(c.Context(), request.Image)
			if err != nil {
				return err
			}
			request.Auth = auth
			return p.runPull(c.Context(), request, p.teller(quiet))
		},
	}
	c.Flags().StringVar(&request.Platform, "platform", "", "os/arch[/variant] to choose from an index (default: varved's)")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "say nothing but the image's id")
	c.Flags().BoolVar(&p.json, "json", false, "write every state as a line of JSON, and no id")
	return c
}

func (p *program) runPull(ctx context.Context, request wire.PullRequest, tell func(progress.State) error) error {
	last, err := p.client().Pull(ctx, request, tell)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("pull %s: %w", request.Image, errInterrupted)
		}
		return err
	}
	if last.Stage == progress.Failed {
		return errors.New(last.Error)
	}
	if !p.json {
		fmt.Println(last.Image)
	}
	return nil
}

// teller chooses how the progress is told.
func (p *program) teller(quiet bool) func(progress.State) error {
	switch {
	case p.json:
		out := json.NewEncoder(os.Stdout)
		return func(s progress.State) error { return out.Encode(s) }
	case quiet:
		return func(progress.State) error { return nil }
	case terminal.Is(os.Stderr):
		screen := terminal.NewScreen(os.Stderr)
		return func(s progress.State) error {
			return screen.Draw(func(width, height int) []string { return show.Bars(s, width, height) })
		}
	}
	return plainTo(os.Stderr)
}

func plainTo(w io.Writer) func(progress.State) error {
	var plain show.Plain
	return func(s progress.State) error {
		for _, line := range plain.Lines(s, time.Now()) {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
		return nil
	}
}

// hubNames are the names under which credentials for Docker's own registry are
// kept; every other registry has one.
var hubNames = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// credentialsFor looks into the caller's docker configuration; nil when that knows
// nothing of the image's registry.
func credentialsFor(ctx context.Context, image string) (*wire.Auth, error) {
	ref, err := reference.Parse(image)
	if err != nil {
		return nil, &usageError{err}
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, nil //nolint:nilerr // without a home there is no configuration
		}
		dir = filepath.Join(home, ".docker")
	}
	names := []string{ref.Domain}
	if ref.Domain == hubNames[0] {
		names = hubNames
	}
	found, err := credentials.New(filepath.Join(dir, "config.json"), nil).Lookup(ctx, names, ref.Path)
	if err != nil {
		return nil, err
	}
	auth := &wire.Auth{
		Username: found.Username, Password: found.Password, IdentityToken: found.RefreshToken, RegistryToken: found.AccessToken,
	}
	if *auth == (wire.Auth{}) {
		return nil, nil
	}
	return auth, nil
}
