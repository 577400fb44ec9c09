package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// streamCommands talk with whoever is at the other end.
var streamCommands = map[string]command{
	"line": func([]string) error { // waits for one line of stdin
		s, err := readLine(os.Stdin)
		if err == nil {
			fmt.Println("line", s)
		}
		return err
	},
	// until WORD prints each line of stdin until one is WORD.
	"until": func(args []string) error {
		for {
			s, err := readLine(os.Stdin)
			if err != nil || s == args[0] {
				return err
			}
			fmt.Println("line", s)
		}
	},
	"size":  waitForSize,
	"winch": winch,
	"sum":   sum,
}

// readLine takes no byte more than the line, which the next command may want.
func readLine(f *os.File) (string, error) {
	var line []byte
	for {
		var b [1]byte
		if _, err := f.Read(b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}

// waitForSize ROWS COLS waits until the terminal is of that size. A client's first size
// may come later than the program's first look.
func waitForSize(args []string) error {
	for {
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil || fmt.Sprint(size.Row) == args[0] && fmt.Sprint(size.Col) == args[1] {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// winch N tells the terminal's size after each of N changes.
func winch(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	changes := make(chan os.Signal, n)
	signal.Notify(changes, unix.SIGWINCH)
	last, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	fmt.Println("watching")
	for n > 0 {
		<-changes
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			return err
		}
		if *size != *last {
			fmt.Println("size", size.Row, size.Col)
			last = size
			n--
		}
	}
	return nil
}

// sum ADDRESS answers each connection, once its client has said its last, with
// the number of bytes and the bytes.
func sum(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("serving on", listener.Addr())
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		fmt.Println("connection")
		go func() {
			defer c.Close()
			if said, err := io.ReadAll(c); err == nil {
				fmt.Fprintf(c, "%d bytes\n%s", len(said), said)
			}
		}()
	}
}
