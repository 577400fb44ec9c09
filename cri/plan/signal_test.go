package plan

import (
	"strings"
	"testing"

	"github.com/varve-cri/varve/cri/signal"
)

func TestOddStopSignalOfAnImage(t *testing.T) {
	in := input(func(in *ContainerInput) { in.Image.StopSignal = "SIGNOPE" })
	p, err := Container(in)
	if err != nil || p.StopSignal != signal.Default || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "SIGNOPE") {
		t.Errorf("an image's odd signal: %+v, %v", p, err)
	}
}
