package kafka_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/producer.md says which test shows what: each must be there.
func TestTheDocsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs", "producer.md"))
	noError(t, err, "read")
	_, table, found := strings.Cut(string(text), "\n## What shows it\n")
	if !found {
		t.Fatal("docs/producer.md has no section of that name")
	}
	functions := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	noError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declaration.FindAllSubmatch(source, -1) {
			functions[string(m[1])] = true
		}
		return err
	}), "look through the tests")
	named := regexp.MustCompile(`\bTest\w+`).FindAllString(table, -1)
	if len(named) < 100 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, name := range named {
		if !functions[strings.TrimSuffix(name, "³")] {
			t.Errorf("there is no %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`the example (\w+)`).FindAllStringSubmatch(table, -1) {
		if _, err := os.Stat(filepath.Join(root, "examples", "producer", m[1], "main.go")); err != nil {
			t.Error(err)
		}
	}
}
