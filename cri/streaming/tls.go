package streaming

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// useTLS checks the files and has each handshake read them anew.
func (s *Server) useTLS() error {
	if _, err := s.tlsConfig(); err != nil {
		return err
	}
	s.base.Scheme = "https"
	s.http.TLSConfig = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tlsConfig() },
	}
	return nil
}

func (s *Server) tlsConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(s.cfg.CertFile, s.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("streaming certificate: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if s.cfg.ClientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(s.cfg.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("streaming client authorities: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("streaming client authorities: %s holds no certificate", s.cfg.ClientCAFile)
	}
	return c, nil
}
