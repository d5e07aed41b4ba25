//go:build unix

package mutant

import (
	"testing"

	"github.com/leat-stream/leat/chaos/internal/scenario"
)

// What a mutant is to be caught by is there.
func TestScenariosExist(t *testing.T) {
	for _, m := range All {
		for _, name := range m.Scenarios {
			if _, ok := scenario.Find(name); !ok {
				t.Errorf("mutant %s: no scenario %q", m.Name, name)
			}
		}
	}
}
