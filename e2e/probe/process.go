package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var processCommands = map[string]command{
	"print": func(args []string) error { return printResult(strings.Join(args, " "), nil) },
	"err": func(args []string) error {
		_, err := fmt.Fprintln(os.Stderr, strings.Join(args, " "))
		return err
	},
	"raw": func(args []string) error { // without a newline at the end
		_, err := fmt.Print(strings.Join(args, " "))
		return err
	},
	"bytes":  bytes,
	"lines":  lines,
	"tick":   tick,
	"sleep":  sleep,
	"trap":   trap,
	"count":  count,
	"ignore": ignore,
	"exit": func(args []string) error {
		code, err := strconv.Atoi(args[0])
		if err == nil {
			os.Exit(code)
		}
		return err
	},
	"spawn": spawn,
	"stdin": func([]string) error {
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	},
	"env": func(args []string) error {
		if len(args) == 0 {
			return printResult(strings.Join(os.Environ(), "\n"), nil)
		}
		return printResult(os.Getenv(args[0]), nil)
	},
	"cwd":      func([]string) error { return printResult(os.Getwd()) },
	"hostname": func([]string) error { return printResult(os.Hostname()) },
	"alloc":    alloc,
	"spin":     spin,
}

// bytes N writes N bytes without a newline.
func bytes(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	_, err = io.CopyN(os.Stdout, repeat('x'), int64(n))
	return err
}

type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// lines N writes "line 0" to "line N-1".
func lines(args []string) error {
	n, err := strconv.Atoi(args[0])
	for i := 0; i < n && err == nil; i++ {
		_, err = fmt.Println("line", i)
	}
	return err
}

// tick DURATION writes "tick I" for ever.
func tick(args []string) error {
	d, err := time.ParseDuration(args[0])
	for i := 0; err == nil; i++ {
		_, err = fmt.Println("tick", i)
		time.Sleep(d)
	}
	return err
}

func sleep(args []string) error {
	d := 100 * 24 * time.Hour
	if len(args) > 0 {
		var err error
		if d, err = time.ParseDuration(args[0]); err != nil {
			return err
		}
	}
	time.Sleep(d)
	return nil
}

// trap SIGNAL CODE sleeps until the signal comes, then exits with CODE. A
// real-time signal, which has no name, is said by its number.
func trap(args []string) error {
	code, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, signalOf(args[0]))
	fmt.Println("waiting for", args[0])
	fmt.Println("caught", <-caught)
	os.Exit(code)
	return nil
}

func signalOf(name string) syscall.Signal {
	if n, err := strconv.Atoi(name); err == nil {
		return syscall.Signal(n)
	}
	return unix.SignalNum(name)
}

// count SIGNAL DURATION waits for the signal, and exits after that time with the
// number of times it came.
func count(args []string) error {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	caught := make(chan os.Signal, 100)
	signal.Notify(caught, signalOf(args[0]))
	fmt.Println("waiting for", args[0])
	<-caught
	fmt.Println("caught one")
	time.Sleep(d)
	os.Exit(1 + len(caught))
	return nil
}

func ignore(args []string) error {
	for _, name := range args {
		signal.Ignore(unix.SignalNum(name))
	}
	return nil
}

// spawn COMMAND... leaves a child behind that shares stdout and stderr.
func spawn(args []string) error {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "probe"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of a signal to the group
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Println("spawned", cmd.Process.Pid)
	return cmd.Process.Release()
}

// held is what alloc has taken: no collection of garbage may give it back.
var held [][]byte

// alloc MIB takes memory and touches it.
func alloc(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for ; n > 0; n-- {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		held = append(held, block)
	}
	fmt.Println("holding", len(held))
	return nil
}

// spin DURATION burns that much time of a CPU, however long it takes.
func spin(args []string) error {
	d, err := time.ParseDuration(args[0])
	for err == nil {
		var used unix.Rusage
		if err = unix.Getrusage(unix.RUSAGE_SELF, &used); err == nil && time.Duration(used.Utime.Nano()+used.Stime.Nano()) > d {
			return nil
		}
	}
	return err
}
