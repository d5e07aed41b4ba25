//go:build real

package doctor_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

// A real registry behind a real broker: its level, and schemas that fit and that do not.
func TestPlantedSchemaFaults(t *testing.T) {
	brokers, url := os.Getenv("LEAT_TEST_BROKERS"), os.Getenv("LEAT_TEST_REGISTRY")
	if brokers == "" || url == "" {
		t.Fatal("LEAT_TEST_BROKERS or LEAT_TEST_REGISTRY is not set; scripts/test-real sets them")
	}
	c := checktest.Dial(t, strings.Split(brokers, ","))
	topic := "doctor-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	subject := topic + "-value"
	c.CreateTopic(topic, 3, nil)
	client, err := registry.New(registry.Config{URLs: []string{url}})
	noError(t, err, "registry")
	admin, err := sr.NewClient(sr.URLs(url))
	noError(t, err, "registry")
	s := doctor.Settings{
		Config: kafka.Config{Brokers: strings.Split(brokers, ",")}, Outputs: []string{topic}, Registry: client,
		Accept: []string{doctor.CheckReplication}, // of one broker
	}
	wrong := func(want ...string) *doctor.Report {
		t.Helper()
		report := check(t, s)
		got := []string{}
		for _, f := range report.Wrong() {
			got = append(got, string(f.Verdict)+" "+f.Check+" "+f.Subject)
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("wrong are %q, not %q, in\n%s", got, want, table(t, report))
		}
		return report
	}

	wrong() // BACKWARD for all, as scripts/registry-start sets it
	const one = `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`
	_, err = client.Register(t.Context(), subject, registry.Schema{Text: one})
	noError(t, err, "register")
	fits := `{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"int","default":0}]}`
	s.Schemas = map[string]registry.Schema{topic: {Text: fits}}
	says(t, wrong(), doctor.CheckSchema, "compatibility level BACKWARD, and the schema is compatible", "")
	s.Schemas[topic] = registry.Schema{Text: strings.Replace(fits, `,"default":0`, "", 1)}
	says(t, wrong("fault schema "+subject), doctor.CheckSchema, "is not compatible with the latest version", "BACKWARD compatible")

	// Apicurio takes NONE for one subject as "as all the others", and answers so.
	set := func(level sr.CompatibilityLevel) {
		noError(t, admin.SetCompatibility(context.Background(), sr.SetCompatibility{Level: level})[0].Err, "set the level")
	}
	defer set(sr.CompatBackward)
	set(sr.CompatNone)
	says(t, wrong("fault schema "+subject), doctor.CheckSchema, "level is NONE", "/config/"+subject)
}
