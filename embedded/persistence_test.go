package embedded_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/embedded"
)

func TestTopicsAndSchemasSurviveARestart(t *testing.T) {
	config := embedded.Config{
		DataDir: filepath.Join(t.TempDir(), "made", "by", "start"),
		Topics:  []embedded.Topic{{Name: "orders", Partitions: 2}},
	}
	ids := make(map[string]int)

	restart(t, config, func(cluster *embedded.Cluster) {
		producer := transactional(t, cluster)
		inTransaction(t, producer, "orders", "kept", producer.CommitTxn)
		inTransaction(t, producer, "orders", "dropped", producer.AbortTxn)
		// Two subjects of one schema share its id; a deleted schema keeps its id to itself.
		for _, subject := range []string{"gone-value", "orders-value", "orders.dlq-value"} {
			ids[subject] = register(t, cluster, subject, "Order")
		}
		ids["customers-value"] = register(t, cluster, "customers-value", "Customer")
		deleteSubject(t, cluster, "gone-value")
		ids["later-value"] = register(t, cluster, "later-value", "Later")
		setCompatibility(t, cluster, sr.CompatFull)
	})

	restart(t, config, func(cluster *embedded.Cluster) {
		if got := readCommitted(t, cluster, "orders", 1); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("read %q after the restart", got)
		}
		checkSchemas(t, cluster, ids)
		if got := register(t, cluster, "new-value", "New"); got <= ids["later-value"] {
			t.Errorf("a new schema got the used id %d", got)
		}
		if got := compatibility(t, cluster); got != sr.CompatFull {
			t.Errorf("compatibility is %v after the restart, want FULL", got)
		}
	})
}

func TestRegisteringAgainDoesNotGrowTheFile(t *testing.T) {
	config := embedded.Config{DataDir: t.TempDir()}
	file := filepath.Join(config.DataDir, "schemas.json")

	restart(t, config, func(cluster *embedded.Cluster) { register(t, cluster, "orders-value", "Order") })
	before, err := os.ReadFile(file)
	noError(t, err, "read")
	restart(t, config, func(cluster *embedded.Cluster) { register(t, cluster, "orders-value", "Order") })
	after, err := os.ReadFile(file)
	noError(t, err, "read")

	if string(before) != string(after) {
		t.Errorf("the file changed from\n%s\nto\n%s", before, after)
	}
}

func TestSettingsAndDeletionsAreKeptInOrder(t *testing.T) {
	config := embedded.Config{DataDir: t.TempDir()}
	restart(t, config, func(cluster *embedded.Cluster) {
		// The last of three equals the first: leaving it out as a repetition would keep NONE.
		for _, level := range []sr.CompatibilityLevel{sr.CompatFull, sr.CompatNone, sr.CompatFull} {
			setCompatibility(t, cluster, level)
		}
		// The same holds for a registration that follows a deletion.
		register(t, cluster, "orders-value", "Order")
		deleteSubject(t, cluster, "orders-value")
		register(t, cluster, "orders-value", "Order")
	})
	restart(t, config, func(cluster *embedded.Cluster) {
		if got := compatibility(t, cluster); got != sr.CompatFull {
			t.Errorf("compatibility is %v, want FULL", got)
		}
		checkSchemas(t, cluster, map[string]int{"orders-value": 1})
	})
}

func TestConcurrentRegistrationsKeepTheirIDs(t *testing.T) {
	config := embedded.Config{DataDir: t.TempDir()}
	ids := make(map[string]int)
	restart(t, config, func(cluster *embedded.Cluster) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				subject := fmt.Sprintf("subject-%d", i)
				id := register(t, cluster, subject, fmt.Sprintf("Name%d", i%8))
				mu.Lock()
				defer mu.Unlock()
				ids[subject] = id
			})
		}
		all.Wait()
	})
	restart(t, config, func(cluster *embedded.Cluster) { checkSchemas(t, cluster, ids) })
}

func TestAKeptTopicWithOtherPartitionsIsReported(t *testing.T) {
	config := embedded.Config{DataDir: t.TempDir(), Topics: []embedded.Topic{{Name: "orders", Partitions: 2}}}
	restart(t, config, func(*embedded.Cluster) {})

	config.Topics[0].Partitions = 4
	if _, err := embedded.Start(config); !errors.Is(err, embedded.ErrTopicDiffers) {
		t.Fatalf("Start: %v, want ErrTopicDiffers", err)
	}
}

func TestKeptSchemasThatCannotBeRestoredAreReported(t *testing.T) {
	registration := `{"method": "POST", "path": "/subjects/s/versions", "body": {"schema": "\"string\""}, "id": %d}`
	files := map[string]string{
		"not JSON":     `{"format": 1, "changes": [`,
		"other format": `{"format": 99}`,
		"other id":     `{"format": 1, "changes": [` + fmt.Sprintf(registration, 7) + `]}`,
		"refused":      `{"format": 1, "changes": [{"method": "DELETE", "path": "/subjects/unknown"}]}`,
		"no request":   `{"format": 1, "changes": [{"method": "NO METHOD", "path": "/"}]}`,
	}
	for name, content := range files {
		t.Run(name, func(t *testing.T) {
			config := embedded.Config{DataDir: t.TempDir()}
			noError(t, os.WriteFile(filepath.Join(config.DataDir, "schemas.json"), []byte(content), 0o600), "write")
			if _, err := embedded.Start(config); !errors.Is(err, embedded.ErrRegistryState) {
				t.Errorf("Start: %v, want ErrRegistryState", err)
			}
		})
	}
}

func TestARegistrationThatCannotBeKeptFailsAndIsKeptLater(t *testing.T) {
	config := embedded.Config{DataDir: t.TempDir()}
	file := filepath.Join(config.DataDir, "schemas.json")
	restart(t, config, func(cluster *embedded.Cluster) {
		// A directory in the file's place makes the write fail for every user, root included.
		noError(t, os.Mkdir(file, 0o700), "mkdir")
		_, err := tryRegister(t, cluster, "orders-value", "Order")
		var response *sr.ResponseError
		if !errors.As(err, &response) || response.StatusCode != http.StatusInternalServerError {
			t.Errorf("register: %v, want a response with status 500", err)
		}
		noError(t, os.Remove(file), "remove")
		register(t, cluster, "orders-value", "Order")
	})
	restart(t, config, func(cluster *embedded.Cluster) { checkSchemas(t, cluster, map[string]int{"orders-value": 1}) })

	left, err := filepath.Glob(file + ".*")
	noError(t, err, "glob")
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestInterceptorsSeeRequests(t *testing.T) {
	cluster := start(t, embedded.Config{DataDir: t.TempDir()})
	cluster.Registry().Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return true
	})
	if _, err := tryRegister(t, cluster, "orders-value", "Order"); err == nil {
		t.Error("registering while the registry is down succeeded")
	}
	cluster.Registry().ClearInterceptors()
	register(t, cluster, "orders-value", "Order")
}

// restart starts a cluster, lets use it and closes it.
func restart(t *testing.T, config embedded.Config, use func(*embedded.Cluster)) {
	t.Helper()
	cluster, err := embedded.Start(config)
	noError(t, err, "start")
	use(cluster)
	noError(t, cluster.Close(), "close")
}

func registryClient(t *testing.T, cluster *embedded.Cluster) *sr.Client {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(cluster.RegistryURL()))
	noError(t, err, "registry client")
	return client
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// record is the Avro schema of an empty record.
func record(name string) sr.Schema {
	return sr.Schema{Schema: fmt.Sprintf(`{"type":"record","name":%q,"fields":[]}`, name)}
}

func tryRegister(t *testing.T, cluster *embedded.Cluster, subject, name string) (int, error) {
	t.Helper()
	return registryClient(t, cluster).RegisterSchema(within(t), subject, record(name), -1, -1)
}

func register(t *testing.T, cluster *embedded.Cluster, subject, name string) int {
	t.Helper()
	id, err := tryRegister(t, cluster, subject, name)
	if err != nil {
		t.Errorf("register %s: %v", subject, err)
	}
	return id
}

func deleteSubject(t *testing.T, cluster *embedded.Cluster, subject string) {
	t.Helper()
	for _, how := range []sr.DeleteHow{sr.SoftDelete, sr.HardDelete} {
		_, err := registryClient(t, cluster).DeleteSubject(within(t), subject, how)
		noError(t, err, "delete "+subject)
	}
}

func setCompatibility(t *testing.T, cluster *embedded.Cluster, level sr.CompatibilityLevel) {
	t.Helper()
	for _, result := range registryClient(t, cluster).SetCompatibility(within(t), sr.SetCompatibility{Level: level}) {
		noError(t, result.Err, "set compatibility")
	}
}

func compatibility(t *testing.T, cluster *embedded.Cluster) sr.CompatibilityLevel {
	t.Helper()
	results := registryClient(t, cluster).Compatibility(within(t))
	noError(t, results[0].Err, "get compatibility")
	return results[0].Level
}

// checkSchemas checks that every subject but those deleted has its id, and the id its schema.
func checkSchemas(t *testing.T, cluster *embedded.Cluster, ids map[string]int) {
	t.Helper()
	client := registryClient(t, cluster)
	for subject, id := range ids {
		schema, err := client.SchemaByID(within(t), id)
		noError(t, err, fmt.Sprintf("schema %d of %s", id, subject))
		if !json.Valid([]byte(schema.Schema)) {
			t.Errorf("schema %d is %q", id, schema.Schema)
		}
		if strings.HasPrefix(subject, "gone") {
			continue
		}
		latest, err := client.SchemaByVersion(within(t), subject, -1)
		noError(t, err, "latest schema of "+subject)
		if latest.ID != id || latest.Schema.Schema != schema.Schema {
			t.Errorf("%s has schema %d %q, want %d %q", subject, latest.ID, latest.Schema.Schema, id, schema.Schema)
		}
	}
}
