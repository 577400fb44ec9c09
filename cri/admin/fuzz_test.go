package admin

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/imagestore/reference"
)

// Whatever a client sends is a pull of a name that can be read, or the client's
// own mistake.
func FuzzPullRequest(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"image":"a"}`, `{"image":"a","platform":"linux/arm64/v8","auth":{"username":"u","password":"p"}}`,
		`{"image":"a"}{}`, `{"image":1}`, `{"image":"a","x":1}`, `{"image":"a","platform":"/"}`, `{"image":"a","auth":null}`, "null",
	} {
		f.Add([]byte(s), "watch=1&x=%zz")
	}
	f.Fuzz(func(t *testing.T, body []byte, query string) {
		var q wire.PullRequest
		err := decode(body, &q)
		if err == nil {
			_, err = options(q)
		}
		if err == nil {
			_, err := reference.Parse(q.Image)
			if err != nil {
				t.Errorf("%q is let through: %v", body, err)
			}
		}
		for _, err := range []error{err, checkQuery(query, []string{"watch"})} {
			if err == nil {
				continue
			}
			if _, code := classify(err); code != codes.InvalidArgument {
				t.Errorf("%q, %q: %v: %v", body, query, code, err)
			}
		}
	})
}
