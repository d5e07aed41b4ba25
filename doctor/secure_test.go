//go:build secure

package doctor_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Each right taken away is found on a real broker with rules of access, and nothing else
// is: with all rights the least user is sound.
func TestSecurePlantedMissingACL(t *testing.T) {
	addr, dir := os.Getenv("LEAT_TEST_SASL"), os.Getenv("LEAT_TEST_TLS")
	if addr == "" || dir == "" {
		t.Fatal("LEAT_TEST_SASL or LEAT_TEST_TLS is not set; scripts/test-secure sets them")
	}
	trust, err := kafka.TLSFiles(filepath.Join(dir, "ca.crt"), "", "")
	noError(t, err, "TLS")
	admin := checktest.Dial(t, []string{addr}, kgo.SASL(plain.Auth{User: "admin", Pass: "admin-secret"}.AsMechanism()), kgo.DialTLSConfig(trust.Clone()))
	id := "doctor-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	in, out := id+"-in", id+"-out"
	admin.CreateTopic(in, partitions, nil)
	admin.CreateTopic(out, partitions, nil)
	admin.JoinAndDie(id+"-other", "other", in, 0) // the cluster has had a group
	admin.CreateUser("SCRAM-SHA-512", id, "its-secret")
	user := kafka.SASL{Mechanism: "SCRAM-SHA-512", User: id, Password: kafka.SecretOf("its-secret")}
	admin.Await("the broker to know the user", func() bool {
		c, err := cluster.Open(t.Context(), cluster.Config{Brokers: []string{addr}, TLS: trust, SASL: user})
		return err == nil && c.Close() == nil
	})
	s := doctor.Settings{
		Config: kafka.Config{Brokers: []string{addr}, TLS: trust, SASL: user, Group: id, Instance: "a"}, Inputs: []string{in}, Outputs: []string{out},
		Accept: []string{doctor.CheckReplication}, // of one broker
	}
	txn := "leat-" + id + "-a-0"
	all := map[string]checktest.Right{
		"read":             {Operation: "READ", ResourceType: "topic", Resource: in},
		"write":            {Operation: "WRITE", ResourceType: "topic", Resource: out},
		"group":            {Operation: "READ", ResourceType: "group", Resource: id},
		"transactional id": {Operation: "WRITE", ResourceType: "transactional-id", Resource: txn},
	}
	for _, r := range all {
		admin.Grant("User:"+id, r)
	}
	for _, r := range []checktest.Right{ // to see
		{Operation: "DESCRIBE_CONFIGS", ResourceType: "topic", Resource: out},
		{Operation: "DESCRIBE_CONFIGS", ResourceType: "cluster", Resource: "kafka-cluster"},
		{Operation: "READ", ResourceType: "topic", Resource: out},
		{Operation: "DESCRIBE", ResourceType: "topic", Resource: "__consumer_offsets"},
		{Operation: "DESCRIBE", ResourceType: "topic", Resource: "__transaction_state"},
	} {
		admin.Grant("User:"+id, r)
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
	report := wrong()
	if got := titles(report, doctor.NotVisible); len(got) != 1 || got[0] != "not visible acls "+txn {
		t.Errorf("not visible are %q", got)
	}
	for name, subject := range map[string]string{"read": in, "write": out, "group": id, "transactional id": txn} {
		admin.Revoke("User:"+id, all[name])
		says(t, wrong("fault acls "+subject), doctor.CheckACLs, "the user ", "--allow-principal User:"+id)
		admin.Grant("User:"+id, all[name])
	}

	s.Config.SASL.Password = kafka.SecretOf("wrong")
	says(t, wrong("fault brokers "+addr), doctor.CheckBrokers, "refuses us", "correct the credentials")
	s.Config.SASL = kafka.SASL{}
	says(t, wrong("fault brokers "+addr), doctor.CheckBrokers, "its listener wants SASL", "")
	s.Config.TLS = nil
	says(t, wrong("fault brokers "+addr), doctor.CheckBrokers, "its listener wants TLS", "")
}
