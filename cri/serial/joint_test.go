package serial

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errGone = errors.New("the client has gone")

// held is work that ends with its context or by a word.
func held(release chan string, ended chan error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		select {
		case id := <-release:
			return id, nil
		case <-ctx.Done():
			ended <- context.Cause(ctx)
			return "", context.Cause(ctx)
		}
	}
}

func TestJointSharesOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		var runs int
		hold := make(chan struct{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				id, err := j.Do(t.Context(), Run{Key: "k", Do: func(context.Context) (string, error) {
					runs++
					<-hold
					return "id", nil
				}})
				if id != "id" || err != nil {
					t.Errorf("got %q, %v", id, err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if runs != 1 || len(j.calls) != 0 {
			t.Errorf("%d runs, left %v", runs, j.calls)
		}
	})
}

// The run goes on as long as somebody waits for it, whoever began it.
func TestJointOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		ended := make(chan error, 1)
		release := make(chan string)
		ctx, cancel := context.WithCancelCause(t.Context())
		first, second := make(chan error, 1), make(chan string, 1)
		go func() {
			_, err := j.Do(ctx, Run{Key: "k", ID: "first", Do: held(release, ended)})
			first <- err
		}()
		synctest.Wait()
		go func() {
			id, err := j.Do(t.Context(), Run{Key: "k", ID: "second", Do: func(context.Context) (string, error) { panic("a second run") }})
			if err != nil {
				t.Error(err)
			}
			second <- id
		}()
		synctest.Wait()
		cancel(errGone)
		var left *LeftError
		if err := <-first; !errors.As(err, &left) || left.ID != "first" || left.Ending || !errors.Is(err, errGone) {
			t.Errorf("the first caller got %v", err)
		}
		release <- "id"
		if id := <-second; id != "id" || len(ended) != 0 {
			t.Errorf("the second caller got %q, the run saw its end %d times", id, len(ended))
		}
	})
}

// A run that nobody wants ends; who asks while it is undone waits and runs anew.
func TestJointAfterARunThatNobodyWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		undone := make(chan bool)
		ctx, cancel := context.WithCancelCause(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := j.Do(ctx, Run{Key: "k", ID: "first", Do: func(ctx context.Context) (string, error) {
				<-ctx.Done()
				<-undone
				return "", context.Cause(ctx)
			}})
			first <- err
		}()
		synctest.Wait()
		cancel(errGone)
		if err := <-first; !errors.Is(err, errGone) {
			t.Errorf("the first caller got %v", err)
		}
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		again := func(context.Context) (string, error) { return "again", nil }
		var left *LeftError
		if _, err := j.Do(short, Run{Key: "k", ID: "second", Do: again}); !errors.As(err, &left) || left.ID != "first" || !left.Ending {
			t.Errorf("without the patience for the undoing: %v", err)
		}
		got := make(chan string, 1)
		go func() {
			id, _ := j.Do(t.Context(), Run{Key: "k", Do: again})
			got <- id
		}()
		synctest.Wait()
		close(undone)
		if id := <-got; id != "again" {
			t.Errorf("got %q", id)
		}
	})
}

// Work that answers the end of its context at once tells its own error.
func TestJointTellsTheWorksOwnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		own := errors.New("step network")
		_, err := j.Do(ctx, Run{Key: "k", Do: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", own
		}})
		if !errors.Is(err, own) {
			t.Errorf("got %v", err)
		}
		if _, err := j.Do(ctx, Run{Key: "k", Do: func(context.Context) (string, error) { panic("begun for nobody") }}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("past the deadline: %v", err)
		}
	})
}

func TestJointLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		ended := make(chan error, 1)
		release := make(chan string)
		leave := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := j.Do(ctx, Run{Key: "k", Linger: time.Minute, Do: held(release, ended)}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		leave()
		time.Sleep(50 * time.Second)
		leave() // which joins, and lets the minute begin again
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if len(ended) != 0 {
			t.Fatal("it was broken off early")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(ended) != 1 || !errors.Is(<-ended, context.DeadlineExceeded) || len(j.calls) != 0 {
			t.Errorf("it goes on for ever, left %v", j.calls)
		}
		leave()
		release <- "finished"
		synctest.Wait()
		if len(j.calls) != 0 {
			t.Errorf("left %v", j.calls)
		}
	})
}

// A run that ends just after its caller has left is still told of.
func TestJointTellsAResultThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		own := errors.New("undone in the end")
		_, err := j.Do(ctx, Run{Key: "k", ID: "x", Do: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			time.Sleep(courtesy + time.Millisecond)
			return "x", own
		}})
		var left *LeftError
		if !errors.As(err, &left) {
			t.Fatalf("got %v", err)
		}
		if ended, id, err := left.Result(); !ended || id != "x" || err != own {
			t.Errorf("its result: %v, %q, %v", ended, id, err)
		}
	})
}

func TestJointAfterAPanic(t *testing.T) {
	var j Joint
	_, err := j.Do(t.Context(), Run{Key: "k", Do: func(context.Context) (string, error) { panic("x") }})
	var told *PanicError
	if !errors.As(err, &told) || told.Value != "x" || !strings.Contains(string(told.Stack), "joint_test.go") {
		t.Errorf("got %v", err)
	}
	if id, err := j.Do(t.Context(), Run{Key: "k", Do: func(context.Context) (string, error) { return "id", nil }}); id != "id" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}

func BenchmarkJoint(b *testing.B) {
	var j Joint
	r := Run{Key: "k", Do: func(context.Context) (string, error) { return "id", nil }}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = j.Do(b.Context(), r)
	}
}
