package streaming

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/websocket"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	"k8s.io/utils/exec"
)

// isVersion5 says whether the client can speak version 5 of the channel protocol.
func isVersion5(r *http.Request) bool { return wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) }

// serveVersion5 serves a session over a WebSocket: each message begins with
// the number of its channel, and a client closes one by its number behind 255.
func (s *Server) serveVersion5(w http.ResponseWriter, r *http.Request, o *remotecommand.Options, do run) {
	c := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: {Binary: true, Channels: channels(o)},
	})
	c.SetIdleTimeout(s.cfg.IdleTimeout)
	_, streams, err := c.Open(w, r)
	if err != nil {
		klog.V(2).InfoS("WebSocket was not opened", "err", err)
		return
	}
	defer c.Close()
	first := remotecommand.StreamErr // the lowest that can be written to
	if o.Stdout {
		first = remotecommand.StreamStdOut
	}
	_, _ = streams[first].Write(nil) // says that the connection stands
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	sizes := make(chan remotecommand.TerminalSize)
	go decodeSizes(ctx, streams[remotecommand.StreamResize], sizes)
	outs := [2]io.Writer{streams[remotecommand.StreamStdOut], streams[remotecommand.StreamStdErr]}
	err = do(ctx, asked(o, streams[remotecommand.StreamStdIn], outs, sizes))
	_, _ = streams[remotecommand.StreamErr].Write(outcome(err))
}

// channels are the types of the channels by number.
func channels(o *remotecommand.Options) []wsstream.ChannelType {
	list := make([]wsstream.ChannelType, remotecommand.StreamResize+1)
	for n, use := range map[int]struct {
		asked bool
		as    wsstream.ChannelType
	}{
		remotecommand.StreamStdIn: {o.Stdin, wsstream.ReadChannel}, remotecommand.StreamStdOut: {o.Stdout, wsstream.WriteChannel},
		remotecommand.StreamStdErr: {o.Stderr, wsstream.WriteChannel}, remotecommand.StreamErr: {true, wsstream.WriteChannel},
		remotecommand.StreamResize: {true, wsstream.ReadChannel},
	} {
		list[n] = wsstream.IgnoreChannel
		if use.asked {
			list[n] = use.as
		}
	}
	return list
}

// decodeSizes passes the client's window sizes on until one of both ends.
func decodeSizes(ctx context.Context, in io.Reader, sizes chan<- remotecommand.TerminalSize) {
	defer close(sizes)
	for d := json.NewDecoder(in); ; {
		var size remotecommand.TerminalSize
		if d.Decode(&size) != nil {
			break
		}
		select {
		case sizes <- size:
		case <-ctx.Done(): // CVE-2022-23471
			return
		}
	}
	_, _ = io.Copy(io.Discard, in) // so that nonsense there does not stop the other channels
}

// outcome is the end of a session as a Status of Kubernetes' API.
func outcome(err error) []byte {
	type cause struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}
	type details struct {
		Causes []cause `json:"causes"`
	}
	s := struct {
		Status  string   `json:"status"`
		Message string   `json:"message,omitempty"`
		Reason  string   `json:"reason,omitempty"`
		Details *details `json:"details,omitempty"`
		Code    int      `json:"code,omitempty"`
	}{Status: "Success"}
	var exit exec.ExitError
	switch {
	case errors.As(err, &exit):
		s.Status, s.Reason = "Failure", remotecommand.NonZeroExitCodeReason
		s.Message = "command terminated with non-zero exit code: " + exit.Error()
		s.Details = &details{[]cause{{remotecommand.ExitCodeCauseType, strconv.Itoa(exit.ExitStatus())}}}
	case err != nil:
		s.Status, s.Reason, s.Code = "Failure", "InternalError", http.StatusInternalServerError
		s.Message = "Internal error occurred: " + err.Error()
	}
	b, _ := json.Marshal(s) //nolint:errchkjson // strings and numbers only
	return b
}

// isTunnel says whether the client wants to speak SPDY inside a WebSocket.
func isTunnel(r *http.Request) bool { return wsstream.IsWebSocketRequestWithTunnelingProtocol(r) }

// serveTunnel serves connections to the pod's ports through such a tunnel: the
// messages' contents are the bytes of a SPDY connection.
func (s *Server) serveTunnel(w http.ResponseWriter, r *http.Request, req *runtimeapi.PortForwardRequest) {
	websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			for _, p := range c.Protocol {
				if strings.TrimSpace(p) == portforward.WebsocketsSPDYTunnelingPortForwardV1 {
					c.Protocol = []string{portforward.WebsocketsSPDYTunnelingPortForwardV1}
					return nil
				}
			}
			return websocket.ErrBadWebSocketProtocol
		},
		Handler: func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			inner := r.Clone(r.Context())
			inner.Header = http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {spdy.HeaderSpdy31},
				"X-Stream-Protocol-Version": {portforward.PortForwardV1Name},
			}
			s.forward(&tunnel{ws: ws, header: http.Header{}}, inner, req)
		},
	}.ServeHTTP(w, r)
}

// tunnel is the answer to a request for SPDY that is upgraded already.
type tunnel struct {
	ws     *websocket.Conn
	header http.Header
}

// Header takes headers, which nobody gets.
func (t *tunnel) Header() http.Header { return t.header }

// WriteHeader has nothing to say.
func (t *tunnel) WriteHeader(int) {}

// Write has nowhere to write to: an answer other than an upgrade is an error.
func (t *tunnel) Write([]byte) (int, error) { return 0, errors.New("no answer inside a tunnel") }

// Hijack gives the tunnel as the connection.
func (t *tunnel) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return t.ws, bufio.NewReadWriter(bufio.NewReader(t.ws), bufio.NewWriter(t.ws)), nil
}
