package streaming

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"k8s.io/klog/v2"
)

// Config is how clients are served.
type Config struct {
	// Address is host:port to listen on; port 0 takes a free one.
	Address string
	// CertFile and KeyFile make it serve TLS, ClientCAFile asks clients for a
	// certificate. The files are read at each handshake, so that new ones count
	// at once.
	CertFile, KeyFile, ClientCAFile string
	// IdleTimeout closes a connection on which nothing moves.
	IdleTimeout time.Duration
	// CreationTimeout is how long a client may take to open its streams.
	CreationTimeout time.Duration
}

// Server gives out URLs and serves them. Make it with New.
type Server struct {
	cfg     Config
	runtime Runtime
	tickets tickets
	hangups *hangups
	patrol  patrol
	http    *http.Server
	socket  *net.TCPListener
	base    url.URL
}

// New listens; nobody is served before Serve.
func New(cfg Config, runtime Runtime) (*Server, error) {
	s := &Server{cfg: cfg, runtime: runtime, base: url.URL{Scheme: "http"}}
	mux := http.NewServeMux()
	mux.HandleFunc("/{kind}/{token}", s.serve)
	s.http = &http.Server{
		Handler: mux, ConnContext: s.begin, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, Protocols: new(http.Protocols), ErrorLog: log.New(quiet{}, "", 0),
	}
	s.http.Protocols.SetHTTP1(true) // an upgraded connection cannot be shared
	if cfg.CertFile != "" {
		if err := s.useTLS(); err != nil {
			return nil, err
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), network(cfg.Address), cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("streaming address: %w", err)
	}
	s.socket = l.(*net.TCPListener) //nolint:forcetypeassert // of network tcp
	s.base.Host = reachable(s.socket)
	if s.hangups, err = newHangups(); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("streaming: %w", err)
	}
	return s, nil
}

// network keeps an IPv4 address what it is: with "tcp", 0.0.0.0 is [::] as well.
func network(address string) string {
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// reachable is the address for URLs: the kubelet is on this node, so that for
// "all addresses" the loopback one is as good as any.
func reachable(l *net.TCPListener) string {
	a := l.Addr().(*net.TCPAddr) //nolint:forcetypeassert // of network tcp
	if !a.IP.IsUnspecified() {
		return a.String()
	}
	if a.IP.To4() != nil {
		return fmt.Sprintf("127.0.0.1:%d", a.Port)
	}
	return fmt.Sprintf("[::1]:%d", a.Port)
}

// Serve serves clients until Close, and then returns nil.
func (s *Server) Serve() error {
	var l net.Listener = listener{s.socket, s}
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("streaming: serve: %w", err)
}

// Close stops listening. Clients that are being served are not ended by it.
func (s *Server) Close() error {
	return errors.Join(s.http.Close(), closeOnce(s.socket), s.hangups.close())
}

// closeOnce closes a listener that Serve may have closed already.
func closeOnce(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// url is where a client presents a token.
func (s *Server) url(kind, token string) string {
	u := s.base
	u.Path = "/" + kind + "/" + token
	return u.String()
}

// serve lets a client in that has a token.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	t := s.tickets.take(r.PathValue("kind"), r.PathValue("token"))
	if t == nil {
		http.NotFound(w, r)
		return
	}
	h := &hijacks{ResponseWriter: w}
	t.serve(h, r)
	if c := connOf(r.Context()); c != nil && h.done {
		// Not all ends of the protocols close the connection: not that of a
		// client which did not open all its streams in time.
		_ = c.outer.Close()
	}
}

// hijacks notes whether the connection was taken over.
type hijacks struct {
	http.ResponseWriter
	done bool
}

// Hijack takes the connection over.
func (h *hijacks) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.done = err == nil
	return c, rw, err
}

// quiet logs what net/http has to say about clients, which is seldom of use.
type quiet struct{}

func (quiet) Write(b []byte) (int, error) {
	klog.V(4).InfoS("Streaming connection", "message", string(b))
	return len(b), nil
}
