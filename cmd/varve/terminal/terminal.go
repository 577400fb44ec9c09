// Package terminal writes lines at the bottom of a terminal again and again, in
// place. It changes no mode of the terminal and hides nothing, so that there is
// nothing to restore, however the program ends.
package terminal

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The size of a terminal that does not tell its own.
const (
	usualWidth  = 80
	usualHeight = 24
)

// Is tells whether a file is a terminal that can move its cursor.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("TERM") != "dumb"
}

// Size is the terminal's columns and lines.
func Size(f *os.File) (width, height int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return usualWidth, usualHeight
	}
	return int(size.Col), int(size.Row)
}

// Screen is the last lines of a terminal.
type Screen struct {
	file *os.File
	last []string
}

// NewScreen begins below what the terminal shows.
func NewScreen(f *os.File) *Screen { return &Screen{file: f} }

// Draw asks for the lines at the terminal's size and puts them in the place of the
// last ones, by one write.
func (s *Screen) Draw(lines func(width, height int) []string) error {
	width, height := Size(s.file)
	// The last column stays free: a character there makes some terminals wrap.
	next := lines(width-1, height)
	_, err := s.file.WriteString(frame(s.last, next, width))
	s.last = next
	return err
}

// Keep leaves the lines where they are: the next Draw begins below them.
func (s *Screen) Keep() { s.last = nil }

// frame is what replaces the lines of last by those of next. Lines that were
// drawn on a wider terminal take more rows now.
func frame(last, next []string, width int) string {
	rows := 0
	for _, l := range last {
		rows += max(1, (utf8.RuneCountInString(l)+width-1)/max(1, width))
	}
	var b strings.Builder
	b.WriteString("\r")
	if rows > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", rows)
	}
	for _, l := range next {
		b.WriteString(l + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}
