package namespace

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// cookie is the number of the network namespace that a socket belongs to (Linux 5.14).
func cookie(t *testing.T, fd int) uint64 {
	t.Helper()
	n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// listen has the socket listen on a loopback port of its own namespace, and returns
// the address.
func listen(fd int) (unix.Sockaddr, error) {
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 1); err != nil {
		return nil, err
	}
	return unix.Getsockname(fd)
}

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
	// The socket is used outside and belongs inside.
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	own, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	if its, ours := cookie(t, fd), cookie(t, own); its == ours {
		t.Errorf("the socket is of the network namespace %d, which is ours", its)
	}
	address, err := listen(fd)
	if err != nil {
		t.Fatal(err)
	}
	err = InNet(Pins{dir}.Net(), func() error {
		dial, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dial)
		return unix.Connect(dial, address)
	})
	if err != nil {
		t.Errorf("listen outside, connect inside: %v", err)
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
