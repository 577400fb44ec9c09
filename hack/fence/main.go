package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// finding is one breach of a rule.
type finding struct {
	file string // relative to the repository
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text) }

// source is one parsed Go file.
type source struct {
	rel       string // slash-separated, relative to the repository
	module    string // the repository's module path
	tree      *ast.File
	set       *token.FileSet
	test      bool
	generated bool
	findings  []finding
}

// report notes a breach at pos.
func (s *source) report(pos token.Pos, format string, args ...any) {
	s.findings = append(s.findings, finding{s.rel, s.set.Position(pos).Line, fmt.Sprintf(format, args...)})
}

// rules are applied to each file.
var rules = []func(*source){checkUnsafe, checkRawCalls, checkArrows, checkPackageName, checkSizes}

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	findings, err := checkTree(root)
	if err == nil {
		var more []finding
		more, err = checkClosure(root)
		findings = append(findings, more...)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fence:", err)
	}
	if err != nil || len(findings) > 0 {
		os.Exit(1)
	}
}

// checkTree applies the rules to every Go file of the module in root. Nested
// modules are held to them too: they are part of the repository.
func checkTree(root string) ([]finding, error) {
	module, err := modulePath(root)
	if err != nil {
		return nil, err
	}
	var findings []finding
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || !d.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		s, err := parse(file, filepath.ToSlash(rel), module)
		if err != nil {
			return err
		}
		for _, rule := range rules {
			rule(s)
		}
		findings = append(findings, s.findings...)
		return nil
	})
	sort.SliceStable(findings, func(i, j int) bool {
		a, b := findings[i], findings[j]
		return a.file < b.file || a.file == b.file && a.line < b.line
	})
	return findings, err
}

func parse(file, rel, module string) (*source, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{
		rel: rel, module: module, tree: tree, set: set,
		test: strings.HasSuffix(rel, "_test.go"), generated: ast.IsGenerated(tree),
	}, nil
}

// modulePath reads the module line of go.mod.
func modulePath(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "module "); ok {
			return strings.Trim(strings.TrimSpace(rest), `"`), nil
		}
	}
	return "", fmt.Errorf("%s: no module line", path.Join(root, "go.mod"))
}
