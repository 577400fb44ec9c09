package hosts

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// ExplicitTLS tells that something is said of the host's certificates. An http
// URL with that is tried by https first, as containerd does.
func (h *Host) ExplicitTLS() bool {
	return len(h.CAs) > 0 || len(h.Clients) > 0 || h.SkipVerify != nil
}

// TLS reads the host's certificates. The error names the file.
func (h *Host) TLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if h.SkipVerify != nil {
		config.InsecureSkipVerify = *h.SkipVerify
	}
	if len(h.CAs) > 0 {
		var err error
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
	}
	for _, file := range h.CAs {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authority: %s holds no certificate", file)
		}
	}
	for _, pair := range h.Clients {
		key := pair[1]
		if key == "" {
			key = pair[0]
		}
		certificate, err := tls.LoadX509KeyPair(pair[0], key)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", pair[0], err)
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	return config, nil
}
