package main

import (
	"go/ast"
	"path"
	"strconv"
	"strings"
)

// The bounds of files and functions.
const (
	maxFileLines     = 500
	maxFunctionLines = 100
	maxParameters    = 5
)

// checkUnsafe keeps unsafe in files whose name says so.
func checkUnsafe(s *source) {
	name := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.rel), ".go"), "_test")
	if strings.HasSuffix(name, "_unsafe") {
		return
	}
	for _, imp := range s.tree.Imports {
		if importPath(imp) == "unsafe" {
			s.report(imp.Pos(), "unsafe is imported outside a file named *_unsafe.go")
		}
	}
}

// rawCalls are the functions that enter the kernel without a type.
var rawCalls = map[string]bool{
	"Syscall": true, "Syscall6": true, "Syscall9": true, "RawSyscall": true, "RawSyscall6": true,
	"SyscallNoError": true, "RawSyscallNoError": true, "AllThreadsSyscall": true, "AllThreadsSyscall6": true,
}

// checkRawCalls keeps raw system calls in runtime/ and shim/.
func checkRawCalls(s *source) {
	if top(s.rel) == "runtime" || top(s.rel) == "shim" {
		return
	}
	names := make(map[string]string) // of the packages that have them, in this file
	for _, imp := range s.tree.Imports {
		p := importPath(imp)
		if p != "syscall" && p != "golang.org/x/sys/unix" {
			continue
		}
		name := path.Base(p)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		if name == "." {
			s.report(imp.Pos(), "%s is imported with a dot, which hides raw system calls", p)
		}
		names[name] = p
	}
	if len(names) == 0 {
		return
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !rawCalls[sel.Sel.Name] {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] != "" {
			s.report(sel.Pos(), "%s.%s is used outside runtime/ and shim/", names[x.Name], sel.Sel.Name)
		}
		return true
	})
}

// emptyNames say nothing about what a package is for.
var emptyNames = map[string]bool{
	"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "types": true, "misc": true,
}

func checkPackageName(s *source) {
	name := strings.TrimSuffix(s.tree.Name.Name, "_test")
	if dir := path.Base(path.Dir(s.rel)); emptyNames[dir] {
		name = dir
	}
	if emptyNames[name] {
		s.report(s.tree.Name.Pos(), "package %s: name it after what it is about", name)
	}
}

// checkSizes bounds files and functions.
func checkSizes(s *source) {
	if s.test || s.generated {
		return
	}
	if lines := s.set.File(s.tree.Pos()).LineCount(); lines > maxFileLines {
		s.report(s.tree.Pos(), "the file has %d lines, more than %d", lines, maxFileLines)
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		switch f := n.(type) {
		case *ast.FuncDecl:
			s.checkFunction(f, f.Type, f.Name.Name)
		case *ast.FuncLit:
			s.checkFunction(f, f.Type, "a function literal")
		}
		return true
	})
}

func (s *source) checkFunction(f ast.Node, t *ast.FuncType, name string) {
	lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
	if lines > maxFunctionLines {
		s.report(f.Pos(), "%s has %d lines, more than %d", name, lines, maxFunctionLines)
	}
	if n := parameters(t); n > maxParameters {
		s.report(f.Pos(), "%s has %d parameters, more than %d", name, n, maxParameters)
	}
}

// parameters counts those that the function uses: the others are there for an
// interface's sake.
func parameters(t *ast.FuncType) (n int) {
	for _, f := range t.Params.List {
		n += max(1, len(f.Names))
		for _, name := range f.Names {
			if name.Name == "_" {
				n--
			}
		}
	}
	return n
}

// importPath returns the path of an import.
func importPath(imp *ast.ImportSpec) string {
	p, err := strconv.Unquote(imp.Path.Value)
	if err != nil {
		return imp.Path.Value
	}
	return p
}

// top returns the first folder of a path.
func top(rel string) string {
	first, _, _ := strings.Cut(rel, "/")
	return first
}
