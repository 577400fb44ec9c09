package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// arrows says which of the repository's folders each folder may import from.
// e2e and hack stand outside: they may use everything, and nothing but tests
// may use them.
var arrows = map[string][]string{
	"runtime":    {"runtime"},
	"shim":       {"shim", "runtime"},
	"imagestore": {"imagestore", "runtime"},
	"cri":        {"cri", "imagestore", "shim", "runtime"},
	"cmd":        {"cmd", "cri", "imagestore", "shim", "runtime"},
}

// checkArrows keeps imports going one way.
func checkArrows(s *source) {
	allowed, ok := arrows[top(s.rel)]
	if !ok {
		return
	}
	for _, imp := range s.tree.Imports {
		rest, own := strings.CutPrefix(importPath(imp), s.module+"/")
		if !own || contains(allowed, top(rest)) || s.test && top(rest) == "e2e" {
			continue
		}
		s.report(imp.Pos(), "%s/ imports %s: imports go cmd -> cri -> {imagestore, shim} -> runtime", top(s.rel), rest)
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// shimProgram is the program that runs once per container, so that every
// package in it costs memory a hundred times per node.
const shimProgram = "cmd/varve-shim"

// shimAllowed are the packages besides the standard library that it may link,
// with all below them.
var shimAllowed = []string{
	"golang.org/x/sys",
	"github.com/opencontainers/runtime-spec",
	"github.com/cyphar/filepath-securejoin/pathrs-lite",
	"github.com/moby/sys/user",
	"github.com/moby/sys/capability",
}

// checkClosure looks at everything that the shim program links.
func checkClosure(root string) ([]finding, error) {
	if _, err := os.Stat(filepath.Join(root, shimProgram)); os.IsNotExist(err) {
		return nil, nil
	}
	module, err := modulePath(root)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+shimProgram)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list what %s links: %w", shimProgram, err)
	}
	var findings []finding
	for _, pkg := range strings.Fields(string(out)) {
		if !shimMay(module, pkg) {
			findings = append(findings, finding{shimProgram, 1, "the program links " + pkg + ", which is not on the shim's list"})
		}
	}
	return findings, nil
}

// shimMay says whether the shim may link a package.
func shimMay(module, pkg string) bool {
	for _, own := range []string{"runtime", "shim", shimProgram} {
		if under(pkg, module+"/"+own) {
			return true
		}
	}
	for _, allowed := range shimAllowed {
		if under(pkg, allowed) {
			return true
		}
	}
	return false
}

// under says whether a package is dir or below it.
func under(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
