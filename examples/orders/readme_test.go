package main

import (
	"os"
	"strings"
	"testing"

	"github.com/leat-stream/leat/serde/registry"
)

// The drawing in README.md is what the pipeline says of itself.
func TestReadmeDrawing(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	check(t, err)
	reg, err := registry.New(registry.Config{URLs: []string{"http://127.0.0.1:1"}})
	check(t, err)
	p := ordersByRegion(reg)
	check(t, p.Validate())
	if want := "```mermaid\n" + p.Mermaid() + "```\n"; !strings.Contains(strings.ReplaceAll(string(readme), "\r\n", "\n"), want) {
		t.Errorf("README.md lacks this drawing; put it there:\n%s", want)
	}
}
