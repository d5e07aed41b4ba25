package embedded_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/leat-stream/leat/embedded"
)

func TestValidateAcceptsTheZeroConfig(t *testing.T) {
	if err := (embedded.Config{}).Validate(); err != nil {
		t.Fatalf("zero config: %v", err)
	}
}

func TestValidateReportsEveryMistake(t *testing.T) {
	config := embedded.Config{
		Brokers:      2,
		Ports:        []int{19000, 19000, 70000},
		RegistryPort: 19000,
		SyncWrites:   true,
		Topics: []embedded.Topic{
			{Name: ""},
			{Name: "..", Partitions: -1},
			{Name: strings.Repeat("n", 250)},
			{Name: "no spaces"},
			{Name: "orders.paid"},
			{Name: "orders_paid"},
			{Name: "orders.paid"},
		},
	}
	err := config.Validate()

	want := []string{
		"Ports: 3 ports for 2 brokers",
		"Ports[1]: 19000 is also Ports[0]",
		"Ports[2]: 70000 is not a TCP port",
		"RegistryPort: 19000 is also Ports[0]",
		"SyncWrites: there is nothing to write without DataDir",
		`Topics[0].Name: "" is empty`,
		`Topics[1].Name: ".." is not a name`,
		"Topics[1].Partitions: -1 is negative",
		"is longer than 249 characters",
		`Topics[3].Name: "no spaces" contains ' '`,
		`Topics[5].Name: "orders_paid" collides with "orders.paid"`,
		`Topics[6].Name: "orders.paid" collides with "orders.paid"`,
	}
	for _, problem := range want {
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("missing %q in:\n%v", problem, err)
		}
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != len(want) {
		t.Errorf("%d mistakes reported, want %d:\n%v", lines, len(want), err)
	}
	var mistake *embedded.ConfigError
	if !errors.Is(err, embedded.ErrInvalidConfig) || !errors.As(err, &mistake) || mistake.Field != "Ports" {
		t.Errorf("error is not typed: %#v", err)
	}
}

func TestStartRefusesAnInvalidConfig(t *testing.T) {
	if _, err := embedded.Start(embedded.Config{Brokers: -1}); !errors.Is(err, embedded.ErrInvalidConfig) {
		t.Fatalf("Start: %v, want ErrInvalidConfig", err)
	}
}
