package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/config"
)

func TestJSONLines(t *testing.T) {
	if err := logging(config.Log{Verbosity: 2, Format: config.FormatJSON}, -1); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	klog.SetLogger(jsonLogger(&b))
	defer func() {
		if err := logging(config.Log{Format: config.FormatText}, -1); err != nil {
			t.Error(err)
		}
	}()
	klog.LoggerWithValues(klog.Background(), "pod", klog.KRef("ns", "name")).V(2).Info("Request", "method", "Status")
	klog.ErrorS(errors.New("no \"such\" thing"), "Broken")
	klog.V(3).InfoS("not asked for")
	lines := bytes.Split(bytes.TrimSpace(b.Bytes()), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("wrote %s", b.Bytes())
	}
	for i, want := range []map[string]any{
		{"msg": "Request", "pod": map[string]any{"name": "name", "namespace": "ns"}, "method": "Status", "level": 2.},
		{"msg": "Broken", "error": `no "such" thing`},
	} {
		var got map[string]any
		if err := json.Unmarshal(lines[i], &got); err != nil {
			t.Fatalf("%s: %v", lines[i], err)
		}
		for k, v := range want {
			if a, b := mustJSON(t, got[k]), mustJSON(t, v); a != b {
				t.Errorf("%s: %s is %s, want %s", lines[i], k, a, b)
			}
		}
		if got["ts"] == nil || got["caller"] == nil {
			t.Errorf("%s: no time or place", lines[i])
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
