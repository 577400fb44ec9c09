package container

import (
	"testing"
)

// BenchmarkStart is the time from a ready space to an executed payload.
func BenchmarkStart(b *testing.B) {
	p := newPlan("/bin/pause")
	b.StopTimer()
	for range b.N {
		root := newRoot(b, nil)
		space, err := NewSpace()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		st, err := space.Start(p, root, Stdio{})
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		reap(b, st)
		root.Close()
	}
}

// BenchmarkSpace is the spare-time work.
func BenchmarkSpace(b *testing.B) {
	for range b.N {
		space, err := NewSpace()
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		space.Close()
		space.waitGone()
		b.StartTimer()
	}
}

// BenchmarkExec is the time until a further process runs in a container.
func BenchmarkExec(b *testing.B) {
	root := newRoot(b, nil)
	space, err := NewSpace()
	if err != nil {
		b.Fatal(err)
	}
	st, err := space.Start(newPlan("/bin/pause"), root, Stdio{})
	if err != nil {
		b.Fatal(err)
	}
	defer reap(b, st)
	p := newProcess("/bin/pause")
	b.ResetTimer()
	for range b.N {
		ex, err := Exec(st.PIDFD, st.PID, &p, ExecOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		reap(b, ex)
		b.StartTimer()
	}
}
