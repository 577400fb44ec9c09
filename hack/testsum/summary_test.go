package main

import (
	"strings"
	"testing"
)

func TestReadCountsAndShowsOnlyFailures(t *testing.T) {
	const stream = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"loud\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"Action":"pass","Package":"q","Test":"TestC"}
{"Action":"output","Package":"q","Output":"ok  \tq\t0.1s\n"}
{"Action":"pass","Package":"q"}
{"Action":"build-output","ImportPath":"r","Output":"r.go:1: wrong\n"}
{"Action":"fail","Package":"r"}
`
	var s Summary
	var out strings.Builder
	if err := s.Read(strings.NewReader(stream), &out); err != nil {
		t.Fatal(err)
	}
	if want := (Summary{Passed: 2, Failed: 2}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	for _, want := range []string{"loud\n", "FAIL\tp", "ok  \tq", "r.go:1: wrong"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "quiet") {
		t.Errorf("output of a passed test is shown:\n%s", out.String())
	}
}

func TestSplit(t *testing.T) {
	got := split([]string{"--", "go", "test", "a", "--", "go", "test", "b"})
	if len(got) != 2 || got[1][2] != "b" {
		t.Errorf("got %v", got)
	}
}
