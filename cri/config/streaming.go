package config

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Streaming is about the server that exec, attach and port-forward clients are
// sent to.
type Streaming struct {
	// Address is host:port, the host an IP address; port 0 takes a free one. Any
	// but a loopback address needs TLS. Default: 127.0.0.1:0.
	Address string `json:"address"`
	// TLS makes it speak https.
	TLS StreamingTLS `json:"tls"`
	// IdleTimeout closes a connection on which nothing moves. Default: 4h.
	IdleTimeout Duration `json:"idleTimeout"`
	// CreationTimeout is how long a client may take to open its streams. Default: 30s.
	CreationTimeout Duration `json:"creationTimeout"`
}

// StreamingTLS are PEM files, read anew at each handshake.
type StreamingTLS struct {
	// CertFile and KeyFile are the server's certificate and its key.
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
	// ClientCAFile lets in only clients with a certificate of these authorities.
	ClientCAFile string `json:"clientCAFile"`
}

func (s *Streaming) complete() {
	set(&s.Address, "127.0.0.1:0")
	set(&s.IdleTimeout, Duration(4*time.Hour))
	set(&s.CreationTimeout, Duration(30*time.Second))
}

func (c *Config) validateStreaming() error {
	s := c.Streaming
	for _, p := range []struct{ field, value string }{
		{"streaming.tls.certFile", s.TLS.CertFile}, {"streaming.tls.keyFile", s.TLS.KeyFile}, {"streaming.tls.clientCAFile", s.TLS.ClientCAFile},
	} {
		if p.value != "" {
			if err := absolute(p.field, p.value); err != nil {
				return err
			}
		}
	}
	switch {
	case s.TLS.CertFile == "" && (s.TLS.KeyFile != "" || s.TLS.ClientCAFile != ""):
		return invalid("streaming.tls.certFile", "is empty")
	case s.TLS.KeyFile == "" && s.TLS.CertFile != "":
		return invalid("streaming.tls.keyFile", "is empty")
	}
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return invalid("streaming.address", "%q is not host:port", s.Address)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return invalid("streaming.address", "%q is not an IP address", host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return invalid("streaming.address", "%q is not a port", port)
	}
	if !ip.IsLoopback() && s.TLS.CertFile == "" {
		return invalid("streaming.address", "%s can be reached from other machines: that needs streaming.tls", ip)
	}
	return nil
}
