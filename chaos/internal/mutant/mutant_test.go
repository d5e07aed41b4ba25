package mutant

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const root = "../../.."

// Every mutant fits the code as it is, and compiles.
func TestMutantsFit(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range All {
		t.Run(m.Name, func(t *testing.T) {
			if seen[m.Name] || m.Without == "" || len(m.Scenarios) == 0 {
				t.Errorf("named twice, or lacks something: %+v", m)
			}
			seen[m.Name] = true
			out := filepath.Join(t.TempDir(), "kafka.a")
			if err := m.Build(t.Context(), root, root, "./sinks/kafka", out); err != nil {
				t.Error(err)
			}
		})
	}
}

// An edit that fits nowhere, or twice, is not taken for a mutant.
func TestStale(t *testing.T) {
	for name, old := range map[string]string{"nowhere": "no such text", "twice": "kafka"} {
		m := Mutant{Name: name, Edits: []Edit{{File: "sinks/kafka/run.go", Old: old, New: "x"}}}
		if _, err := m.overlay(root, t.TempDir()); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The library is not touched.
func TestTheRepositoryIsNotChanged(t *testing.T) {
	file := filepath.Join(root, All[0].Edits[0].File)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := All[0].overlay(root, dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file is another: %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("%d files, %v", len(files), err)
	}
}
