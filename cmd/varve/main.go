// Varve is the operator's command line: it talks to varved over its admin socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cmd/varve/terminal"
	"github.com/varve-cri/varve/cri/admin/client"
)

// version is set by the build.
var version = "unknown"

const (
	defaultSocket = "/run/varve/admin.sock"
	socketEnv     = "VARVE_SOCKET"
)

// The exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitInterrupted = 130 // as a shell has it
)

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// errInterrupted is for what Ctrl-C ended.
var errInterrupted = errors.New("interrupted")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	root := command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "varve:", err)
	if hint := hint(err); hint != "" {
		fmt.Fprintln(os.Stderr, hint)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	usage, dial := (*usageError)(nil), (*client.DialError)(nil)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &dial):
		return exitUnreachable
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	}
	return exitFailed
}

// hint says what to type next.
func hint(err error) string {
	usage, dial := (*usageError)(nil), (*client.DialError)(nil)
	switch {
	case errors.As(err, &usage):
		return "see varve --help"
	case !errors.As(err, &dial):
		return ""
	case errors.Is(dial.Err, fs.ErrPermission):
		return "it is for root: sudo varve ..."
	case errors.Is(dial.Err, fs.ErrNotExist), errors.Is(dial.Err, unix.ECONNREFUSED), errors.Is(dial.Err, unix.ENOTDIR):
		return "varved does not run, or has its socket elsewhere:\n" +
			"  systemctl start varved       starts it\n" +
			"  varve --socket PATH ...      names the socket, as does $" + socketEnv + "; it is admin.socket in varved's configuration"
	}
	return ""
}

const about = `varve shows and changes what varved, a Kubernetes node runtime, has on this machine:
its images and their layers. Pods and containers are the kubelet's; see them with crictl.

It talks to varved over ` + defaultSocket + ` and must be run as root.

Exit codes: 0 done, 1 failed, 2 a wrong command line, 3 varved is not there, 130 interrupted.`

// program is what all commands need.
type program struct {
	socket string
	json   bool
}

func command() *cobra.Command {
	p := &program{}
	root := &cobra.Command{
		Use: "varve", Short: "shows and changes the images of a varve node", Long: about,
		Example: "  varve pull docker.io/library/busybox:1.37\n  varve images\n  varve layers busybox\n  varve pulls -w",
		Version: version, SilenceErrors: true, SilenceUsage: true,
		Args: usage(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	socket := os.Getenv(socketEnv)
	if socket == "" {
		socket = defaultSocket
	}
	root.PersistentFlags().StringVar(&p.socket, "socket", socket, "varved's admin socket; $"+socketEnv+" changes the default")
	root.AddCommand(p.pull(), p.pulls(), p.images(), p.layers(), p.history(), p.store(), p.operations(), p.reload(), p.version())
	return root
}

// usage marks what a check of the arguments finds as a wrong command line.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

// oneImage is the arguments of a command that is about one image.
func oneImage(c *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return &usageError{fmt.Errorf("%s: which image? type: varve %s", c.Name(), c.Use)}
	case 1:
		return nil
	}
	return &usageError{fmt.Errorf("%s: %d arguments, and it takes one image", c.Name(), len(args))}
}

func (p *program) client() *client.Client { return client.New(p.socket) }

// width is how wide lines may be: the terminal's width, or 0, no bound, when the
// output is a file or a pipe.
func width() int {
	if !terminal.Is(os.Stdout) {
		return 0
	}
	w, _ := terminal.Size(os.Stdout)
	return w
}
