// Package criclient is the CRI client of the tests and of the quick start: the
// generated clients of k8s.io/cri-api on one connection, and the few calls
// that every user of a runtime writes again. It knows nothing of varve.
package criclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Client speaks both CRI services over one unix socket.
type Client struct {
	runtimeapi.RuntimeServiceClient
	runtimeapi.ImageServiceClient
	conn *grpc.ClientConn
}

// maxMessage is the kubelet's limit for one message (16 MiB).
const maxMessage = 16 << 20

// Dial makes a client of the socket. It does not connect yet.
func Dial(socket string) (*Client, error) {
	conn, err := grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialUnix),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(4*maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", socket, err)
	}
	return &Client{runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn), conn}, nil
}

// dialUnix goes through a descriptor of the socket's directory, because a path
// longer than sun_path (108 bytes) cannot be connected to by name.
func dialUnix(ctx context.Context, socket string) (net.Conn, error) {
	dir, err := os.OpenFile(filepath.Dir(socket), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket)))
}

// Call makes any call by the path of its method, with a request and room for an
// answer of its types. A stream is read to its end, and resp is its last message.
func (c *Client) Call(ctx context.Context, path string, streams bool, req, resp proto.Message) error {
	if !streams {
		return c.conn.Invoke(ctx, path, req, resp)
	}
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(req); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		switch err := stream.RecvMsg(resp); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// Raw sends bytes as the request of a method, whether or not they are one.
func (c *Client) Raw(ctx context.Context, path string, request []byte) error {
	return c.conn.Invoke(ctx, path, request, nil, grpc.ForceCodec(raw{}))
}

// raw is a codec of requests that are bytes already.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no request in bytes", v)
	}
	return b, nil
}

func (raw) Unmarshal([]byte, any) error { return nil }
func (raw) Name() string                { return "proto" }

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// WaitReady waits until the runtime answers and says that it is ready.
func (c *Client) WaitReady(ctx context.Context) error {
	var last error
	for {
		status, err := c.Status(ctx, &runtimeapi.StatusRequest{})
		if last = err; err == nil {
			if last = notReady(status.GetStatus()); last == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the runtime: %w", errors.Join(ctx.Err(), last))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// notReady is an error that quotes the first condition which does not hold.
func notReady(status *runtimeapi.RuntimeStatus) error {
	for _, condition := range status.GetConditions() {
		if !condition.GetStatus() {
			return fmt.Errorf("%s is false: %s: %s", condition.GetType(), condition.GetReason(), condition.GetMessage())
		}
	}
	return nil
}

// Drain stops and removes every pod.
func (c *Client) Drain(ctx context.Context) error {
	pods, err := c.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var all []error
	for _, pod := range pods.GetItems() {
		all = append(all, c.RemovePod(ctx, pod.GetId()))
	}
	return errors.Join(all...)
}

// RemovePod stops and removes one pod with its containers.
func (c *Client) RemovePod(ctx context.Context, id string) error {
	if _, err := c.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("stop pod %s: %w", id, err)
	}
	if _, err := c.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("remove pod %s: %w", id, err)
	}
	return nil
}
