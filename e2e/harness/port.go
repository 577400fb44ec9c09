package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreePort is a port of this machine that nobody uses, neither with TCP nor with
// UDP. It is none of those that the kernel gives to who asks for any
// (ip_local_port_range, from 32768 on): between this look and the port's use
// another test's server could be given it.
func FreePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(20000)
		tcp, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", fmt.Sprint(":", port))
		tcp.Close()
		if err == nil {
			udp.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
