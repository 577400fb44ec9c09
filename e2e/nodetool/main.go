// Command nodetool is the part of hack/node.sh and hack/run.sh that is not
// shell: see package node.
//
//	nodetool up|start|down|status DIR
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/varve-cri/varve/e2e/node"
)

func main() {
	mirror := flag.String("mirror", "", "pull every registry's images from this http://HOST:PORT")
	config := flag.String("config", "", "varved configuration to start from")
	embedded := flag.Bool("embedded", false, "up: no configuration at all, /run/varve and /var/lib/varve as a user gets them")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: nodetool [flags] up|start|down|status DIR")
		os.Exit(2)
	}
	verb, dir := flag.Arg(0), flag.Arg(1)
	if err := do(verb, dir, *embedded, node.Options{Mirror: *mirror, Config: *config}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func do(verb, dir string, embedded bool, o node.Options) error {
	if verb == "up" {
		return up(dir, embedded, o)
	}
	n, err := node.Load(dir)
	if err != nil {
		return err
	}
	switch verb {
	case "start":
		return n.Start(varved())
	case "down":
		if n.PID() == 0 {
			// Only a daemon can take pods down; a node whose daemon cannot
			// start is removed all the same, and its leaks are named.
			if err := n.Start(varved()); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		return n.Down()
	case "status":
		return status(n)
	default:
		return fmt.Errorf("no verb %q", verb)
	}
}

func up(dir string, embedded bool, o node.Options) error {
	if embedded {
		n, err := node.Default(dir)
		if err != nil {
			return err
		}
		return n.Start(varved())
	}
	n, err := node.Plan(dir, o)
	if err != nil {
		return err
	}
	if err := n.Start(varved()); err != nil {
		return errors.Join(fmt.Errorf("node %s is not up: %w", dir, err), n.Down())
	}
	return nil
}

// varved is the daemon beside this program.
func varved() string {
	self, err := os.Executable()
	if err != nil {
		return "varved"
	}
	return filepath.Join(filepath.Dir(self), "varved")
}

func status(n *node.Node) error {
	fmt.Printf("socket   %s\nlog      %s\nnetwork  %s on %s\ncgroups  %s\n", n.Socket(), n.Log(), n.Subnet, n.Bridge, n.CgroupParent)
	for _, item := range n.Take() {
		fmt.Println(item)
	}
	pid := n.PID()
	if pid == 0 {
		return fmt.Errorf("varved does not run")
	}
	fmt.Println("varved  ", pid)
	return nil
}
