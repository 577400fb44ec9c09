package observe

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/admin/client"
	"github.com/varve-cri/varve/e2e/harness"
)

// hangUp sends the daemon a SIGHUP and waits for the line that says the words.
func hangUp(t *testing.T, words ...string) {
	t.Helper()
	at := len(logSince(t, 0))
	if err := unix.Kill(suite.Node.PID(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the log says "+strings.Join(words, " "), func() bool {
		log := logSince(t, at)
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(log, w) })
	})
}

func in(c map[string]any, name string) map[string]any {
	if m, ok := c[name].(map[string]any); ok {
		return m
	}
	m := map[string]any{}
	c[name] = m
	return m
}

func TestReload(t *testing.T) {
	h := suite.Test(t)
	pid := h.Node.PID()
	c := h.Pod().Start(harness.Say("sleep"))
	t.Cleanup(func() { hangUp(t, "is reloaded") }) // when the file is what it was
	configure(t, func(c map[string]any) {
		in(c, "log")["verbosity"] = 5
		in(c, "exec")["maxOutputBytes"] = 3
		in(c, "images")["pinned"] = []string{harness.Probe}
		in(c, "shim")["spares"] = 2
		in(c, "runtime")["handlers"] = map[string]any{"late": map[string]any{"rlimits": map[string]any{"nofile": map[string]any{"soft": 77, "hard": 77}}}}
	})
	hangUp(t, `"Configuration is reloaded"`, `changed=["exec.maxOutputBytes","images.pinned","log.verbosity","runtime.handlers"]`, `needsRestart=["shim.spares"]`)

	if got := c.Exec("print abcdef"); got != "abc" {
		t.Errorf("exec.maxOutputBytes: %q", got)
	}
	list, err := h.ListImages(h.Ctx, &runtimeapi.ListImagesRequest{})
	h.Must(err)
	if i := list.GetImages(); len(i) != 1 || !i[0].GetPinned() {
		t.Errorf("images.pinned: %v", i)
	}
	harness.Eventually(t, "a request that only looks is logged", func() bool {
		return strings.Contains(logSince(t, 0), `method="ListImages"`)
	})
	run := &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(), RuntimeHandler: "late"}
	made, err := h.RunPodSandbox(h.Ctx, run)
	h.Must(err)
	h.Must(h.RemovePod(h.Ctx, made.GetPodSandboxId()))
	st, err := h.RuntimeServiceClient.Status(h.Ctx, &runtimeapi.StatusRequest{})
	h.Must(err)
	if !slices.ContainsFunc(st.GetRuntimeHandlers(), func(r *runtimeapi.RuntimeHandler) bool { return r.GetName() == "late" }) {
		t.Errorf("handlers: %v", st.GetRuntimeHandlers())
	}
	if h.Node.PID() != pid {
		t.Error("it is another daemon")
	}
}

func TestReloadOfRegistries(t *testing.T) {
	h := suite.Test(t)
	const ref = "elsewhere.test/probe:1"
	pull := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}}
	configure(t, func(c map[string]any) {
		rules, _ := in(c, "images")["registries"].([]any)
		in(c, "images")["registries"] = append(rules, map[string]any{
			"name": "elsewhere.test", "mirrors": []any{map[string]any{"url": "http://127.0.0.1:1"}}, "mirrorsOnly": true,
		})
	})
	hangUp(t, `changed=["images.registries"]`, "needsRestart=[]")
	_, err := h.PullImage(h.Ctx, pull)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("pull by the new rule: %v", err)
	}
	configure(t, func(c map[string]any) { // the test's cleanups put the first one back at last
		rules, _ := in(c, "images")["registries"].([]any)
		in(c, "images")["registries"] = rules[:len(rules)-1]
	})
	hangUp(t, `changed=["images.registries"]`)
	_, err = h.PullImage(h.Ctx, pull)
	h.Must(err)
	_, err = h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: pull.GetImage()})
	h.Must(err)
	h.Must(h.Pull(h.Ctx, harness.Probe)) // the same image under its own name
}

// A file that is bad changes nothing, and is said to.
func TestReloadOfABadFile(t *testing.T) {
	h := suite.Test(t)
	configure(t, func(map[string]any) {}) // it puts the good one back
	for text, words := range map[string][]string{
		"exec: {maxOutputBytes: 3}\nnonsense: 1\n":              {"nonsense: no such field"},
		"exec: {maxOutputBytes: -3}\n":                          {"exec.maxOutputBytes"},
		"runtime: {handlers: {x: {layerFormat: none}}}\n":       {"layerFormat"},
		"images: {registries: [{name: a, caFile: /no/such}]}\n": {"/no/such"},
		"exec: [": {"not YAML"},
	} {
		h.Must(os.WriteFile(configFile(), []byte(text), 0o600))
		hangUp(t, append(words, "Configuration is not reloaded")...)
		r, err := client.New(h.Node.AdminSocket()).Reload(h.Ctx)
		if err == nil {
			t.Errorf("%s: the operator is told %+v", text, r)
		} else if !strings.Contains(err.Error(), words[0]) {
			t.Errorf("%s: the operator is told %v", text, err)
		}
		c := h.Pod().Start(harness.Say("sleep"))
		if got := c.Exec("print abcdef"); got != "abcdef\n" {
			t.Errorf("%s: output %q", text, got)
		}
	}
}
