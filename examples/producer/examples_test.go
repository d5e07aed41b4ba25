// Package producer tests the programs below it as a whole. What each one prints stands in
// its example_test.go, where go test compares it with what the program says of a Kafka in
// its own process. With the build tag real those are left out: real_test.go then compares
// the same text with what the program says of a real one.
package producer

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program is one of the examples.
type program struct{ name, output string }

// programs finds them all: each directory but internal is one.
func programs(t *testing.T) (all []program) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "internal" {
			all = append(all, program{e.Name(), outputOf(t, e.Name())})
		}
	}
	if len(all) == 0 {
		t.Fatal("no programs found")
	}
	return all
}

// outputOf is the output that go test compares with.
func outputOf(t *testing.T, name string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(name, "example_test.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatalf("%s has no expected output: %v", name, err)
	}
	examples := doc.Examples(file)
	if len(examples) != 1 || examples[0].Output == "" || examples[0].Unordered || !callsMain(examples[0]) {
		t.Fatalf("%s/example_test.go must have one Example that calls main and nothing else, with its output in order", name)
	}
	return strings.TrimSpace(examples[0].Output)
}

func callsMain(e *doc.Example) bool {
	body, ok := e.Code.(*ast.BlockStmt)
	if !ok || len(body.List) != 1 {
		return false
	}
	statement, ok := body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := statement.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	name, ok := call.Fun.(*ast.Ident)
	return ok && name.Name == "main"
}

// Every program is tested, and named where people look for it.
func TestEveryProgramIsTestedAndNamed(t *testing.T) {
	for _, page := range []string{"README.md", filepath.Join("..", "..", "docs", "producer.md")} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range programs(t) {
			if !strings.Contains(string(text), "["+p.name+"](") {
				t.Errorf("%s does not link to %s", page, p.name)
			}
		}
	}
}
