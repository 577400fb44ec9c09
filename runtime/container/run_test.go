package container

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/varve-cri/varve/runtime/plan"
)

// outcome is what became of a payload.
type outcome struct {
	report
	text string
	code int
}

// launch starts p on root and fails the test if that does not work.
func launch(tb testing.TB, p *plan.Plan, root *os.File, stdio Stdio) *Started {
	tb.Helper()
	space, err := NewSpace()
	if err != nil {
		tb.Fatal(err)
	}
	st, err := space.Start(p, root, stdio)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if !waited[st] { // the test failed before
			reap(tb, st)
		}
	})
	return st
}

// run runs p to its end, with its output on a pipe.
func run(tb testing.TB, p *plan.Plan, root *os.File) outcome {
	tb.Helper()
	return collect(tb, func(s Stdio) (*Started, error) {
		space, err := NewSpace()
		if err != nil {
			return nil, err
		}
		return space.Start(p, root, s)
	})
}

// runIn runs process in the container of init.
func runIn(tb testing.TB, init *Started, p plan.Process) outcome {
	tb.Helper()
	return collect(tb, func(s Stdio) (*Started, error) {
		return Exec(init.PIDFD, init.PID, &p, ExecOptions{Stdio: s})
	})
}

func collect(tb testing.TB, start func(Stdio) (*Started, error)) outcome {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	st, err := start(Stdio{Out: w})
	w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	o := outcome{text: string(b), code: wait(tb, st)}
	if len(b) > 0 && b[0] == '{' {
		if err := json.Unmarshal(b, &o.report); err != nil {
			tb.Fatalf("%v in %q", err, b)
		}
	}
	if o.code != 0 {
		tb.Fatalf("payload ended with %d: %s", o.code, o.text)
	}
	return o
}

// refused starts p, which must fail, and returns the error.
func refused(tb testing.TB, p *plan.Plan, root *os.File) *StepError {
	tb.Helper()
	space, err := NewSpace()
	if err != nil {
		tb.Fatal(err)
	}
	st, err := space.Start(p, root, Stdio{})
	if err == nil {
		reap(tb, st)
		tb.Fatal("the start worked")
	}
	var e *StepError
	if !errors.As(err, &e) {
		tb.Fatalf("error of type %T: %v", err, err)
	}
	return e
}

func equal[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s is %v, want %v", what, got, want)
	}
}
