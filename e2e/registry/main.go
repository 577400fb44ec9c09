// Command registry serves one small image over HTTP on this machine, built
// from e2e/probe at start, so that the quick start needs no internet. It
// writes the image's name to a file when it is ready, and runs until it is
// ended.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5117", "address; another port is taken when this one is busy")
	ready := flag.String("ready", "", "file that gets the image's name when it can be pulled")
	flag.Parse()
	if err := serve(*listen, *ready); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

const repository = "varve/hello:1"

func serve(listen, ready string) error {
	registry, err := testregistry.Listen(listen)
	if err != nil {
		if registry, err = testregistry.Listen("127.0.0.1:0"); err != nil {
			return err
		}
	}
	defer registry.Close()
	image, err := testimage.Probe(v1.Config{})
	if err != nil {
		return err
	}
	if err := registry.Push(repository, image); err != nil {
		return err
	}
	name := registry.Host + "/" + repository
	fmt.Println("serving", name)
	if ready != "" {
		// By rename: whoever waits for the file must not read half of it.
		if err := os.WriteFile(ready+".new", []byte(name+"\n"), 0o600); err != nil {
			return err
		}
		if err := os.Rename(ready+".new", ready); err != nil {
			return err
		}
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT)
	<-end
	return nil
}
