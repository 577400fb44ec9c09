package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/config"
)

// logging sets klog up: structured lines on stderr, at the configured level unless
// the command line has given one.
func logging(cfg config.Log, verbosity int) error {
	if verbosity < 0 {
		verbosity = cfg.Verbosity
	}
	if cfg.Format == config.FormatJSON {
		klog.SetLogger(jsonLogger(os.Stderr))
	} else {
		klog.ClearLogger()
	}
	set := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(set)
	return errors.Join(set.Set("logtostderr", "true"), set.Set("v", fmt.Sprint(verbosity)))
}

// jsonLogger writes each line as one object. What is verbose enough to be written
// is klog's decision.
func jsonLogger(w io.Writer) logr.Logger {
	return funcr.NewJSON(func(line string) { _, _ = io.WriteString(w, line+"\n") }, funcr.Options{
		LogTimestamp: true, TimestampFormat: "2006-01-02T15:04:05.000000Z07:00", LogCaller: funcr.All, Verbosity: 10,
	})
}
