package shim

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultSpares is how many spare shims wait when the configuration is silent.
const DefaultSpares = 8

// LauncherConfig says how shims are spawned.
type LauncherConfig struct {
	// Binary is the path of the varve-shim program.
	Binary string
	// Spares is how many shims wait for work: 0 means DefaultSpares, a
	// negative number none at all.
	Spares int
	// LogPath is the file that gets the shims' own complaints (their stderr).
	// It is emptied when it has grown beyond 1 MiB. Empty discards them.
	LogPath string
	// OOMScoreAdj is the shims' own oom_score_adj; nil leaves the daemon's. A
	// value that the kernel refuses (no CAP_SYS_RESOURCE) is left alone.
	OOMScoreAdj *int
}

// Launcher keeps spare shims and starts containers in them. Its methods may be
// called from many goroutines at once.
type Launcher struct {
	cfg     LauncherConfig
	program *os.File        // sealed; see loadProgram
	spares  chan *Client    // those that wait
	refill  chan struct{}   // has a token when the pool may not be full
	stop    context.Context //nolint:containedctx // the launcher's own life, no request's
	cancel  context.CancelFunc
	filler  sync.WaitGroup
	taken   atomic.Int64 // when a spare was last asked for
}

// NewLauncher checks the configuration and begins to fill the pool of spares
// in the background.
func NewLauncher(cfg LauncherConfig) (*Launcher, error) {
	if cfg.Spares == 0 {
		cfg.Spares = DefaultSpares
	}
	cfg.Spares = max(cfg.Spares, 0)
	program, err := loadProgram(cfg.Binary)
	if err != nil {
		return nil, err
	}
	keepDescriptors()
	l := &Launcher{cfg: cfg, program: program, spares: make(chan *Client, cfg.Spares), refill: make(chan struct{}, 1)}
	l.stop, l.cancel = context.WithCancel(context.Background())
	l.filler.Go(l.fill)
	return l, nil
}

// Close ends the pool: spares exit, running containers stay.
func (l *Launcher) Close() error {
	l.cancel()
	l.filler.Wait()
	defer l.program.Close()
	for {
		select {
		case c := <-l.spares:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// refillPause is the time between a failed attempt to make a spare and the
// next.
const refillPause = time.Second

// fill keeps the pool full. It makes one spare at a time, so that a burst of
// starts does not also get a burst of spawns beside it.
func (l *Launcher) fill() {
	for l.stop.Err() == nil {
		if len(l.spares) == cap(l.spares) {
			select {
			case <-l.refill:
			case <-l.stop.Done():
			}
			continue
		}
		if rest := l.rest(); rest > 0 {
			l.pause(rest)
			continue
		}
		c, err := l.spawn(l.stop)
		if err != nil {
			l.pause(refillPause)
			continue
		}
		l.spares <- c // only this goroutine adds
	}
}

// How long after a start the pool is left alone: a shim that begins takes a
// processor and the kernel's mount locks from the container that starts. A
// pool that is half empty waits only until a start is over, and one that is
// all but empty is filled whatever goes on.
const (
	quietTime = 20 * time.Millisecond
	startTime = 5 * time.Millisecond
)

// rest is how long a spare should still wait to be made.
func (l *Launcher) rest() time.Duration {
	var pause time.Duration
	switch waiting := len(l.spares); {
	case waiting > cap(l.spares)/2:
		pause = quietTime
	case waiting > 1:
		pause = startTime
	}
	quiet := time.Since(time.Unix(0, l.taken.Load()))
	if quiet < 0 { // the clock was set back
		return 0
	}
	return pause - quiet
}

func (l *Launcher) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.stop.Done():
	}
}

// take returns a spare that lives, or a new shim when none waits.
func (l *Launcher) take(ctx context.Context) (*Client, error) {
	l.taken.Store(time.Now().UnixNano())
	defer func() {
		select {
		case l.refill <- struct{}{}:
		default:
		}
	}()
	for {
		select {
		case c := <-l.spares:
			select {
			case <-c.Done(): // it died while it waited
				continue
			default:
				return c, nil
			}
		default:
		}
		if l.stop.Err() != nil {
			return nil, errors.New("launcher is closed")
		}
		return l.spawn(ctx)
	}
}

// Waiting is the number of spares that wait now.
func (l *Launcher) Waiting() int { return len(l.spares) }
