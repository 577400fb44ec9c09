package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-cri/varve/cri/config"
)

func TestAdminSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	for enabled, want := range map[bool]bool{true: true, false: false} {
		l, err := listenAdmin(&config.Config{Admin: config.Admin{Enabled: &enabled, Socket: path}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = os.Lstat(path)
		if there := err == nil; there != want || (l != nil) != want {
			t.Errorf("enabled %v: listener %v, socket %v", enabled, l, err)
		}
		if l != nil {
			_ = l.Close()
			_ = os.Remove(path)
		}
	}
}
