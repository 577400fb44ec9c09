package config

import (
	"strings"
	"testing"
)

func TestStreaming(t *testing.T) {
	for text, want := range map[string]string{
		"{adress: '127.0.0.1:1'}":           "streaming.adress: no such field; did you mean address?",
		"{address: 'localhost:1'}":          `streaming.address: "localhost" is not an IP address`,
		"{address: 127.0.0.1}":              `streaming.address: "127.0.0.1" is not host:port`,
		"{address: '127.0.0.1:65536'}":      `streaming.address: "65536" is not a port`,
		"{address: '0.0.0.0:1'}":            "streaming.address: 0.0.0.0 can be reached from other machines: that needs streaming.tls",
		"{address: '[::]:1'}":               "streaming.address: :: can be reached from other machines",
		"{tls: {certFile: /c}}":             "streaming.tls.keyFile: is empty",
		"{tls: {keyFile: /c}}":              "streaming.tls.certFile: is empty",
		"{tls: {clientCAFile: /c}}":         "streaming.tls.certFile: is empty",
		"{tls: {certFile: c, keyFile: /k}}": `streaming.tls.certFile: "c" is not an absolute path`,
		"{idleTimeout: 500us}":              "streaming.idleTimeout",
		"{creationTimeout: 2h}":             "streaming.creationTimeout",

		"{address: '[::1]:10250'}":                                     "",
		"{address: '0.0.0.0:0', tls: {certFile: /c, keyFile: /k}}":     "",
		"{idleTimeout: 1s, creationTimeout: 1s, address: 127.1.2.3:0}": "",
	} {
		_, err := Parse([]byte("streaming: " + text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
