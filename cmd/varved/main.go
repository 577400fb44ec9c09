// Varved is the daemon of varve: it answers the kubelet (or crictl) over the
// CRI. This program reads the configuration and puts the parts together;
// everything else is in the packages.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/varve-cri/varve/cri/config"
)

// version is set by the build.
var version = "unknown"

// defaultConfig is read when it exists and no other file is named.
const defaultConfig = "/etc/varve/varved.yaml"

type flags struct {
	config, dropins string
	print, version  bool
	verbosity       int
}

func main() {
	f := parse(os.Args[1:])
	if err := run(f); err != nil {
		fmt.Fprintln(os.Stderr, "varved:", err)
		os.Exit(1)
	}
}

func parse(args []string) flags {
	var f flags
	set := flag.NewFlagSet("varved", flag.ExitOnError)
	set.StringVar(&f.config, "config", "", "configuration file (default "+defaultConfig+", if there is one)")
	set.StringVar(&f.dropins, "config-dir", "", "directory of *.yaml drop-ins merged over the configuration")
	set.BoolVar(&f.print, "print-config", false, "print the complete configuration and exit")
	set.BoolVar(&f.version, "version", false, "print the version and exit")
	set.IntVar(&f.verbosity, "v", -1, "log level: 2 is every change, 5 is every request (default: log.verbosity of the configuration)")
	_ = set.Parse(args) // it exits on an error
	if set.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "varved: unknown argument %q\n", set.Arg(0))
		os.Exit(2)
	}
	return f
}

func run(f flags) error {
	if f.version {
		fmt.Println("varved", version)
		return nil
	}
	cfg, err := load(f)
	if err != nil {
		return err
	}
	if f.print {
		text, err := cfg.Marshal()
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	if err := logging(cfg.Log, f.verbosity); err != nil {
		return err
	}
	tuneMemory()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return serve(cfg, f, stop)
}

func load(f flags) (*config.Config, error) {
	path := f.config
	if path == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			path = defaultConfig
		}
	}
	return config.Load(path, f.dropins)
}

// ballast is never touched, so that it takes no memory of the machine, but the
// collector counts it as alive.
var ballast = make([]byte, 8<<20)

// tuneMemory keeps the heap small, but not so small that each pod brings a
// collection, which slows its calls down: with half the living heap and half the
// ballast to allocate before the next one it is one in three.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	runtime.KeepAlive(ballast)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(512 << 20) // pulls may use more for a moment, at the price of more collections
	}
}
