package guest

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const said = `kernel 6.1
GUEST JOB e2e/pod
=== RUN   TestOne
--- PASS: TestOne (0.10s)
=== RUN   TestTwo
    --- PASS: TestTwo/sub (0.00s)
--- PASS: TestTwo (0.00s)
PASS
GUEST DONE e2e/pod: ok (0.2 s)
GUEST END 0
`
	if ran := tell(t, strings.NewReader(said)); ran["e2e/pod"] != 2 || len(ran) != 1 {
		t.Errorf("%v", ran)
	}
}
