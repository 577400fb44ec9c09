package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var networkCommands = map[string]command{
	"serve":    serve,
	"get":      get,
	"serveudp": serveUDP,
	"addrs":    addrs,
	"abstract": abstract,
	"mtu":      mtu,
	"lookup": func(args []string) error {
		found, err := net.LookupHost(args[0])
		return printResult(strings.Join(found, " "), err)
	},
}

// serve ADDRESS TEXT answers every HTTP request with TEXT.
func serve(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("serving on", listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("request from", r.RemoteAddr)
		fmt.Fprintln(w, strings.Join(args[1:], " "))
	}))
}

// serveUDP ADDRESS TEXT answers every datagram with TEXT.
func serveUDP(args []string) error {
	conn, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("serving on", conn.LocalAddr())
	for buf := make([]byte, 2048); ; {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo([]byte(strings.Join(args[1:], " ")), from); err != nil {
			return err
		}
	}
}

// get URL prints the answer; it tries for a minute, because the server may be a
// container that is starting.
func get(args []string) error {
	client := http.Client{Timeout: 10 * time.Second}
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var answer *http.Response
		if answer, err = client.Get(args[0]); err == nil {
			defer answer.Body.Close()
			_, err = io.Copy(os.Stdout, answer.Body)
			return err
		}
	}
	return err
}

// addrs prints "name flags address..." for each interface.
func addrs([]string) error {
	interfaces, err := net.Interfaces()
	for _, i := range interfaces {
		list, _ := i.Addrs()
		fmt.Println(i.Name, i.Flags, list)
	}
	return err
}

// abstract prints the abstract sockets of the network namespace.
func abstract([]string) error {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 7 && strings.HasPrefix(fields[7], "@") {
			fmt.Println(fields[7])
		}
	}
	return nil
}

// mtu NAME N sets the longest packet of an interface.
func mtu(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(args[0])
	if err != nil {
		return err
	}
	request.SetUint32(uint32(n))
	return unix.IoctlIfreq(fd, unix.SIOCSIFMTU, request)
}
