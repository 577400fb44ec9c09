package registry

import "time"

// Limits bound what a registry may cost. Zero fields take the defaults.
type Limits struct {
	// Connect bounds dialling and the TLS handshake (10 s).
	Connect time.Duration
	// Header bounds the wait for an answer's first bytes (30 s).
	Header time.Duration
	// MirrorHeader is Header for a host that has others after it (10 s), and counts
	// from the dial; it is such a host's StallWindow too. Share bounds the time that the failures of such a host may
	// cost one pull (20 s).
	MirrorHeader time.Duration
	Share        time.Duration
	// StallWindow and StallBytes are the slowest transfer that is let go on: at
	// least StallBytes (16 KiB) in each StallWindow (30 s) of waiting.
	StallWindow time.Duration
	StallBytes  int64
	// A blob of at least WideBytes (16 MiB) from a host that is slow for WideAfter
	// (1 s) is fetched by at most Streams (4; negative is one) connections at once,
	// in parts of PartBytes (1 MiB).
	WideBytes int64
	WideAfter time.Duration
	Streams   int
	PartBytes int64
	// Attempts is how often one request is tried at one endpoint (4).
	Attempts int
	// Backoff is the pause after the first failed attempt; it doubles (250 ms).
	Backoff time.Duration
	// RetryAfter is the longest pause that a 429 may ask for (30 s).
	RetryAfter time.Duration
}

func (l Limits) withDefaults() Limits {
	orDuration(&l.Connect, 10*time.Second)
	orDuration(&l.Header, 30*time.Second)
	orDuration(&l.MirrorHeader, 10*time.Second)
	orDuration(&l.Share, 20*time.Second)
	orDuration(&l.StallWindow, 30*time.Second)
	orDuration(&l.WideAfter, time.Second)
	orDuration(&l.Backoff, 250*time.Millisecond)
	orDuration(&l.RetryAfter, 30*time.Second)
	orNumber(&l.StallBytes, 16<<10)
	orNumber(&l.WideBytes, 16<<20)
	orNumber(&l.PartBytes, 1<<20)
	orNumber(&l.Streams, 4)
	orNumber(&l.Attempts, 4)
	return l
}

func orDuration(d *time.Duration, otherwise time.Duration) {
	if *d == 0 {
		*d = otherwise
	}
}

func orNumber[T int | int64](n *T, otherwise T) {
	if *n == 0 {
		*n = otherwise
	}
}
