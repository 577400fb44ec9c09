package stream

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/streamclient"
)

// The test binary is also a client of its own, to be killed.
const clientVia, clientURL = "VARVE_TEST_CLIENT_VIA", "VARVE_TEST_CLIENT_URL"

func TestMain(m *testing.M) {
	if via := os.Getenv(clientVia); via != "" {
		floodUntilKilled(streamclient.Transport(via), os.Getenv(clientURL))
		return
	}
	harness.Main(m, &suite)
}

// flood is an input without end that counts what was taken of it.
type flood struct{ taken atomic.Int64 }

func (f *flood) Read(b []byte) (int, error) {
	f.taken.Add(int64(len(b)))
	return len(b), nil
}

// floodUntilKilled sends input and says when nobody takes more of it.
func floodUntilKilled(via streamclient.Transport, url string) {
	var in flood
	go func() {
		for last := int64(-1); ; time.Sleep(time.Second) {
			now := in.taken.Load()
			if now > 1<<20 && now == last {
				fmt.Println("stuck")
				return
			}
			last = now
		}
	}()
	err := via.Run(context.Background(), url, remotecommand.StreamOptions{Stdin: &in, Stdout: io.Discard})
	fmt.Println("ended:", err)
}
