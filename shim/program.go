package shim

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// programSeals make the copy of the program what it is for good.
const programSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// loadProgram copies the shim's program into sealed memory, from where every
// shim is run. A container can make the kernel run the program that is starting
// one of its processes (a script whose interpreter is /proc/self/exe) and then
// open it by /proc/PID/exe: a program on disk could be overwritten that way, for
// the host and all other containers (CVE-2019-5736). The copy's pages are shared
// by all shims, as a file's are.
func loadProgram(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("shim program: %w", err)
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil {
		return nil, fmt.Errorf("shim program: %w", err)
	} else if st.IsDir() || st.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("shim program %s: not executable", path)
	}
	// MFD_EXEC is for Linux 6.3 and later, where sysctl vm.memfd_noexec may
	// make memory not executable unless it is asked for; before, it is EINVAL.
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("varve-shim", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("varve-shim", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("shim program: memfd: %w", err)
	}
	program := os.NewFile(uintptr(fd), "varve-shim")
	if _, err := io.Copy(program, file); err != nil {
		_ = program.Close()
		return nil, fmt.Errorf("shim program %s: copy: %w", path, err)
	}
	if _, err := unix.FcntlInt(program.Fd(), unix.F_ADD_SEALS, programSeals); err != nil {
		_ = program.Close()
		return nil, fmt.Errorf("shim program %s: seal: %w", path, err)
	}
	return program, nil
}
