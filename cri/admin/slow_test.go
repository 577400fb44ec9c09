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

	"github.com/varve-cri/varve/imagestore"
)

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
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the pulls took %v", took)
	}
	time.Sleep(2 * s.write)
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.Copy(io.Discard, answer)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() || got >= pulls*size {
		t.Errorf("after %d bytes: %v", got, err)
	}
	if err := errors.Join(s.Close(), <-served); err != nil {
		t.Error(err)
	}
}
