package shim

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probe is what runs in the test containers.
func probe(args []string) int {
	arg := func(i int) int {
		n, _ := strconv.Atoi(args[i])
		return n
	}
	switch args[0] {
	case "exit":
		return arg(1)
	case "sleep":
		time.Sleep(time.Hour)
	case "say":
		fmt.Print(args[1])
		fmt.Fprint(os.Stderr, args[2])
	case "lines": // as many lines, and out at once
		w := bufio.NewWriterSize(os.Stdout, 60<<10)
		for i := range arg(1) {
			fmt.Fprintf(w, "line %d %s\n", i, strings.Repeat("x", i%100))
		}
		w.WriteString("no newline")
		w.Flush()
	case "tick":
		for i := 0; ; i++ {
			fmt.Println("tick", i)
			time.Sleep(time.Millisecond)
		}
	case "flood":
		b := []byte(strings.Repeat(strings.Repeat("y", 63)+"\n", 1024))
		for {
			os.Stdout.Write(b)
		}
	case "cat":
		n, err := io.Copy(os.Stdout, os.Stdin)
		fmt.Println("cat:", n, err)
	case "term":
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM)
		fmt.Println("ready")
		<-ch
		return 7
	case "family": // leaves processes in sessions of their own behind
		for range arg(1) {
			_, err := syscall.ForkExec("/bin/probe", []string{"/bin/probe", "sleep"}, &syscall.ProcAttr{
				Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
			})
			if err != nil {
				fmt.Println(err)
				return 1
			}
		}
		fmt.Println("family made")
		if len(args) > 2 {
			time.Sleep(time.Hour)
		}
	case "hog":
		for {
			b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
			if err != nil {
				return 1
			}
			b[0] = 1
		}
	case "tty":
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println("no tty:", err)
			return 1
		}
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGWINCH) // before the test may resize
		fmt.Println("tty", size.Row, size.Col)
		line := make(chan string)
		go func() {
			s, _ := bufio.NewReader(os.Stdin).ReadString('\n')
			line <- s
		}()
		for {
			select {
			case <-ch:
				size, _ = unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
				fmt.Println("size", size.Row, size.Col)
			case s := <-line:
				fmt.Printf("got %q\n", s)
				return 0
			}
		}
	}
	return 0
}
