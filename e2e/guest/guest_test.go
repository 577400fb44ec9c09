package guest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// onV2 is what is run in the guest. A process there costs twenty times what it
// costs here, so it is what a kernel or a hierarchy can break, and no more.
var onV2 = []string{
	"./runtime/cgroup:TestDevices|TestOOM|TestRootIsRefused|TestParent|TestCreateSetRemove|TestSavedLimits|TestMemoryBelowUse|TestUnifiedKeys|TestSetOOMScoreAdj|TestKillFreeze",
	"./runtime/usage:TestKernel",
	"./e2e/pod:TestLifeOnBothNetworks|TestPIDModePod|TestCgroupParent|TestPortMapping|TestStatsShowTheLoad|TestMetricsShowTheLoad",
	"./e2e/container:TestExecSync|TestExecTimeoutKillsAll|TestMounts$|TestPropagation|TestRecursiveReadOnly|TestMaskedAnd|TestDeviceCgroup|TestDevicesAnd|TestSeccomp$|TestAppArmor|TestPrivileged|TestTTY",
	"./e2e/resource:TestSwap|TestKubeletsCgroup|TestUnified|TestRefusedInTheMiddle",
	"./e2e/crash:TestExitsWhile|TestKilledShim",
	"./e2e/guest/inside",
}

// TestUserModeLinux boots the guest and tells each test that ran in it as one
// of its own.
func TestUserModeLinux(t *testing.T) {
	cmd := exec.Command("../../hack/guest.sh", append([]string{"uml"}, onV2...)...)
	cmd.Env = append(os.Environ(), "GUEST_PATIENCE=1500")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ran := tell(t, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("hack/guest.sh: %v", err)
	}
	for _, spec := range onV2 {
		if pkg, _, _ := strings.Cut(strings.TrimPrefix(spec, "./"), ":"); ran[pkg] == 0 {
			t.Errorf("no test of %s ran", pkg)
		}
	}
}

var (
	jobLine  = regexp.MustCompile(`^GUEST JOB (\S+)`)
	doneLine = regexp.MustCompile(`^GUEST DONE (.*)`)
	testLine = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\w+) `)
)

// tell reads the guest's report: what go test -v prints, between lines of
// init's. It returns how many tests of each package ran.
func tell(t *testing.T, report io.Reader) map[string]int {
	ran := map[string]int{}
	pkg, said := "", []string{}
	lines := bufio.NewScanner(report)
	lines.Buffer(nil, 16<<20) // a line that is longer would leave the guest with nobody who reads
	for lines.Scan() {
		line := lines.Text()
		if m := jobLine.FindStringSubmatch(line); m != nil {
			pkg, said = m[1], nil
			continue
		}
		if m := doneLine.FindStringSubmatch(line); m != nil {
			if !strings.Contains(line, ": ok (") {
				t.Errorf("%s\n%s", m[1], strings.Join(said, "\n"))
			}
			continue
		}
		m := testLine.FindStringSubmatch(line)
		if m == nil {
			said = append(said, line)
			continue
		}
		ran[pkg]++
		about := strings.Join(said, "\n")
		t.Run(pkg+"."+m[2], func(t *testing.T) {
			if m[1] != "PASS" {
				t.Errorf("%s\n%s", line, about)
			}
		})
		said = nil
	}
	return ran
}
