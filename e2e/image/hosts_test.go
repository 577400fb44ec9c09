package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testregistry"
)

func place(h *harness.Test, name, text string) {
	h.T.Helper()
	file := filepath.Join(h.Node.Dir, name)
	h.Must(os.MkdirAll(filepath.Dir(file), 0o755))
	h.Must(os.WriteFile(file, []byte(text), 0o700))
}

// A hosts.toml is read at the next pull; what is wrong with it is named, and is
// no matter of other registries.
func TestHostsFile(t *testing.T) {
	h := suite.Test(t)
	h.Must(h.Registry.Push("hosts/app:1", tiny(t, v1.Config{})))
	const ref, file = "hosts.test/hosts/app:1", "certs.d/hosts.test/hosts.toml"
	server := fmt.Sprintf("[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", h.Registry.URL())
	place(h, file, "servr = \"x\"\n"+server)
	h.WantCode(h.Pull(h.Ctx, ref), codes.FailedPrecondition, filepath.Join(h.Node.Dir, file)+": servr: no such key")
	h.Must(h.Pull(h.Ctx, "registry.test/hosts/app:1"))
	place(h, file, server)
	h.Must(h.Pull(h.Ctx, ref))
	remove(h, ref)
}

// Pulls without credentials take those of the docker config.json, also by a helper.
func TestDockerConfig(t *testing.T) {
	h := suite.Test(t)
	h.Registry.Fault("vault", testregistry.Fault{User: "me", Password: "open sesame"})
	h.Must(h.Registry.Push("vault/app:1", tiny(t, v1.Config{})))
	ref := h.Registry.Host + "/vault/app:1"
	h.WantCode(h.Pull(h.Ctx, ref), codes.Unauthenticated, ref)
	place(h, "config.json", fmt.Sprintf(`{"auths": {%q: {"auth": "bWU6b3BlbiBzZXNhbWU="}}}`, h.Registry.Host))
	h.Must(h.Pull(h.Ctx, ref))
	remove(h, ref)
	place(h, "config.json", fmt.Sprintf(`{"credHelpers": {%q: "e2e"}}`, h.Registry.Host))
	place(h, "docker-credential-e2e", "#!/bin/sh\necho '{\"Username\":\"me\",\"Secret\":\"open sesame\"}'\n")
	h.Must(h.Pull(h.Ctx, ref))
	remove(h, ref)
	place(h, "docker-credential-e2e", "#!/bin/sh\necho open sesame\nexit 1\n")
	err := h.Pull(h.Ctx, ref)
	h.WantCode(err, codes.Unauthenticated, "docker-credential-e2e")
	log, readErr := os.ReadFile(h.Node.Log())
	h.Must(readErr)
	if strings.Contains(err.Error()+string(log), "sesame") {
		t.Error("the secret is in an error or in the log")
	}
	h.Must(os.Remove(filepath.Join(h.Node.Dir, "config.json")))
	// A mirror gets no credentials that are the registry's.
	h.WantCode(h.Pull(h.Ctx, "registry.test/vault/app:1"), codes.Unauthenticated)
}
