package seccomp

import (
	"math/rand/v2"
	"os"
	"testing"
)

// TestAgainstLibseccomp compares the RuntimeDefault profile of one day
// (testdata/default.json) with what libseccomp 2.5.4 made of it for x86_64, x86
// and x32. That version ends at call 450 and lacks 335, so only those that it
// knows are compared. x32 is left out: libseccomp looks at half of its
// arguments.
func TestAgainstLibseccomp(t *testing.T) {
	p, err := Localhost("testdata/default.json")
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile("testdata/default.libseccomp-2.5.4.bpf")
	if err != nil {
		t.Fatal(err)
	}
	own, theirs := machineOf(t, mustCompile(t, p, "amd64")), machineOf(t, recorded)
	r := source{rand.New(rand.NewPCG(3, 4))}
	for _, token := range []uint32{auditX8664, auditI386, auditAarch64} {
		for nr := range uint32(451) {
			if nr == 335 && token == auditX8664 {
				continue
			}
			for range 20 {
				d := data{arch: token, nr: nr}
				for i := range d.args {
					if d.args[i] = r.value(); r.IntN(2) == 0 {
						d.args[i] = uint64(r.IntN(64))
					}
				}
				if got, want := run(t, own, d), run(t, theirs, d); got != want {
					t.Fatalf("%+v: action %#x, libseccomp's is %#x", d, got, want)
				}
			}
		}
	}
}
