package namespace

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInNet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ns")
	if err := Pin(dir, Spec{Net: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unpin(dir); err != nil {
			t.Error(err)
		}
	})
	var there string
	fd := -1
	err := InNet(Pins{dir}.Net(), func() (err error) {
		if there, err = os.Readlink("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if unix.Gettid() == unix.Getpid() {
			return errors.New("this is the process's first thread")
		}
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	here, _ := os.Readlink("/proc/self/ns/net")
	if here == there || there == "" {
		t.Errorf("inside %s, outside %s", there, here)
	}
	// The socket listens inside: nobody outside can tell.
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	if c, err := net.DialTCP("tcp", nil, &address); err == nil {
		c.Close()
		t.Errorf("%v answers outside", &address)
	}
	err = InNet(filepath.Join(dir, "none"), func() error { return nil })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a namespace that is not there: %v", err)
	}
	err = InNet("/dev/null", func() error { return nil })
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("a file that is no namespace: %v", err)
	}
	want := errors.New("mine")
	if err := InNet(Pins{dir}.Net(), func() error { return want }); !errors.Is(err, want) {
		t.Errorf("the function's own error: %v", err)
	}
}
