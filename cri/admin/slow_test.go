package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore"
)

// awaitHangup waits until the other side has closed the connection, and reads
// nothing.
func awaitHangup(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		fds := []unix.PollFd{{Events: unix.POLLRDHUP}}
		_ = raw.Control(func(fd uintptr) {
			fds[0].Fd = int32(fd)
			_, _ = unix.Poll(fds, 0)
		})
		if fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0 {
			return
		}
	}
	t.Fatal("the connection stays")
}

// Whoever asks to watch and does not read is cut off, and holds no one up.
func TestSlowReaderIsCutOff(t *testing.T) {
	store, err := imagestore.Open(imagestore.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Store: store})
	s.write = 200 * time.Millisecond
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "GET /v1/pulls?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(c)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "200 OK") {
		t.Fatalf("%q, %v", line, err)
	}
	const pulls, size = 2000, 4000 // more than any socket's buffer
	begun := time.Now()
	for range pulls {
		store.Begin(strings.Repeat("a", size), nil).End("", errors.New("no"))
	}
	if took := time.Since(begun); took > pulls*s.write/4 {
		t.Errorf("the pulls took %v", took)
	}
	awaitHangup(t, c)
	got, err := io.Copy(io.Discard, answer)
	if got >= pulls*size {
		t.Errorf("after %d bytes: %v", got, err)
	}
	if err := errors.Join(s.Close(), <-served); err != nil {
		t.Error(err)
	}
}
