package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-cri/varve/cri/config"
)

func TestOneDaemonPerState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	unlock, err := lockState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockState(dir); err == nil || !strings.Contains(err.Error(), "another varved") {
		t.Errorf("a second daemon: %v", err)
	}
	unlock()
	again, err := lockState(dir)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	// One that is just ending is waited for.
	time.AfterFunc(100*time.Millisecond, again)
	third, err := lockState(dir)
	if err != nil {
		t.Fatalf("while the one before ends: %v", err)
	}
	third()
}

func TestSocket(t *testing.T) {
	// Longer than an address can be.
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "varve.sock")
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v", st.Mode(), err)
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "another program serves it") {
		t.Errorf("a socket that is served: %v", err)
	}
	first.Close() // leaves the file, as a crash does
	second, err := listen(path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	second.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file that is no socket: %v", err)
	}
	if _, err := net.Dial("unix", file); err == nil {
		t.Error("connected to a file")
	}
}

func TestRules(t *testing.T) {
	r := rules([]config.Registry{
		{Name: "*", Mirrors: []config.Mirror{{URL: "http://m:1"}}, MirrorsOnly: true},
		{Name: "docker.io", Mirrors: []config.Mirror{{URL: "https://m:2", InsecureSkipVerify: true}}, PlainHTTP: true},
	})
	if all := r["*"]; all.Fallback || len(all.Endpoints) != 1 || all.Endpoints[0].URL != "http://m:1" {
		t.Errorf("rule of all: %+v", all)
	}
	if hub := r["docker.io"]; !hub.Fallback || !hub.PlainHTTP || !hub.Endpoints[0].SkipVerify {
		t.Errorf("rule of one: %+v", hub)
	}
	if p := platform("linux/arm64/v8"); p.OS != "linux" || p.Architecture != "arm64" || p.Variant != "v8" {
		t.Errorf("platform %+v", p)
	}
	if p := platform(""); p.OS != "" {
		t.Errorf("no platform %+v", p)
	}
}
