package container

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The pause program is all of one ELF file: header, one segment, and the
// code for "wait for a signal, for ever". As init of a PID namespace it is
// killed by no signal from inside, and because it begins with SIGCHLD
// ignored, the kernel itself reaps the orphans that it inherits. pauseCode,
// by architecture, is the machine code.
const (
	elfHeaderSize  = 64
	elfProgramSize = 56
	pauseAddress   = 0x400000
)

// pauseELF builds the file.
func pauseELF() []byte {
	le := binary.LittleEndian
	size := uint64(elfHeaderSize + elfProgramSize + len(pauseCode))
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0} // 64 bit, little endian, version 1, System V
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, pauseMachine)
	b = le.AppendUint32(b, 1)                                         // version
	b = le.AppendUint64(b, pauseAddress+elfHeaderSize+elfProgramSize) // entry: the code
	b = le.AppendUint64(b, elfHeaderSize)                             // program headers follow
	b = le.AppendUint64(b, 0)                                         // no section headers
	b = le.AppendUint32(b, 0)                                         // flags
	for _, v := range []uint16{elfHeaderSize, elfProgramSize, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, pauseAddress, pauseAddress, size, size, 0x10000} {
		b = le.AppendUint64(b, v) // offset, addresses, sizes, alignment (64 KiB pages of arm64)
	}
	return append(b, pauseCode...)
}

// pauseProgram returns the program in a sealed memfd, which nobody who gets
// at it through /proc/PID/exe can change (CVE-2019-5736).
func pauseProgram() (int, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("varve-pause", flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3, where all are executable
		fd, err = unix.MemfdCreate("varve-pause", flags)
	}
	if err != nil {
		return -1, err
	}
	_, err = unix.Write(fd, pauseELF())
	if err == nil {
		seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
