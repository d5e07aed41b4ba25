package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

func TestValidateReportsEverything(t *testing.T) {
	t.Parallel()
	err := doctor.Settings{
		Inputs: []string{"in"}, Outputs: []string{""}, Schemas: map[string]registry.Schema{"x": {}}, Accept: []string{"replication:out", "weather"},
		Config: kafka.Config{Producer: kafka.ProducerConfig{BatchSize: -1}},
	}.Validate()
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"Brokers: no address", "BatchSize", "nobody reads Inputs", "a topic's name is empty", "nobody to ask about Schemas", `no check "weather" to Accept; there are brokers, versions`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	err = doctor.Settings{Config: kafka.Config{Brokers: []string{"b:1"}, Group: "g", Producer: kafka.LowLatency()}, TransactionalID: "id"}.Validate()
	for _, want := range []string{"AcksAll", "a TransactionalID is a Producer's"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := doctor.Check(t.Context(), doctor.Settings{}); !errors.Is(err, pipeline.ErrInvalid) {
		t.Errorf("Check: %v", err)
	}
}

// Nobody answers: each address is reported, and what does not depend on the cluster is
// looked at all the same.
func TestNoBrokerAnswers(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	a, b := nobody(t), nobody(t)
	p.settings.Config.Brokers = []string{a, b}
	report := check(t, p.settings)
	found(t, report, "fault brokers "+a, "fault brokers "+b)
	says(t, report, doctor.CheckSchema, "compatibility level BACKWARD", "")
}

// The cluster names a broker at an address that cannot be reached: clients are sent
// there.
func TestAdvertisedAddress(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	addr := nobody(t)
	host, port := kmsg.NewMetadataResponseBroker(), 0
	_, text, _ := strings.Cut(addr, ":")
	noError(t, json.Unmarshal([]byte(text), &port), "port")
	host.NodeID, host.Host, host.Port = 9, "127.0.0.1", int32(port)
	fake := p.fake.Fake()
	fake.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		for i, own := range p.fake.Brokers() {
			b := kmsg.NewMetadataResponseBroker()
			_, text, _ := strings.Cut(own, ":")
			_ = json.Unmarshal([]byte(text), &port)
			b.NodeID, b.Host, b.Port = int32(i), "127.0.0.1", int32(port)
			resp.Brokers = append(resp.Brokers, b)
		}
		resp.Brokers = append(resp.Brokers, host)
		resp.ClusterID = kmsg.StringPtr("id")
		return resp, nil, true
	})
	s := doctor.Settings{Config: kafka.Config{Brokers: p.fake.Brokers()}}
	report := check(t, s)
	found(t, report, "fault brokers "+addr)
	says(t, report, doctor.CheckBrokers, "the cluster names", "advertised.listeners")
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	p := withRights(t, rights())
	p.settings.Config.SASL.Password = kafka.SecretOf("wrong")
	report := check(t, p.settings)
	if len(report.Wrong()) != 3 {
		t.Errorf("found\n%s", table(t, report))
	}
	says(t, report, doctor.CheckBrokers, "the broker has hung up", "") // a real one says why
	if strings.Contains(table(t, report), "wrong\n") || strings.Contains(table(t, report), `"wrong"`) {
		t.Error("it tells the password")
	}
}

// A broker that stands still holds nobody up for long, and the context ends all.
func TestContextEndsIt(t *testing.T) {
	t.Parallel()
	checktest.NoLeaks(t, "leat/doctor", "leat/internal/cluster", "leat/internal/wire")
	p := admit(t, soundConfig())
	fake := p.fake.Fake()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	fake.ControlKey(int16(kmsg.DescribeGroups), func(kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		cancel(why)
		fake.SleepControl(func() { <-release })
		return nil, nil, false
	})
	began := time.Now()
	report, err := doctor.Check(ctx, p.settings)
	if !errors.Is(err, why) {
		t.Errorf("Check: %v", err)
	}
	found(t, report) // the rest is not known
	says(t, report, doctor.CheckCompression, "producer", "")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		path         string
		status       int
		body         string
		want         []string
		says, change string
	}{
		"not compatible": {"/compatibility/", 200, `{"is_compatible":false,"messages":["reader field x has no default"]}`, []string{"fault schema out-value"}, "not compatible with the latest version: reader field x has no default", "BACKWARD compatible"},
		"refused":        {"/config", 403, `{"error_code":403,"message":"no"}`, []string{"not visible schema out-value"}, "level of subject", ""},
		"no subject":     {"/compatibility/", 404, `{"error_code":40401,"message":"Subject not found"}`, nil, "", ""},
		"invalid":        {"/compatibility/", 422, `{"error_code":42201,"message":"Invalid schema"}`, []string{"fault schema out-value"}, "does not take the schema", "correct the schema"},
		"down":           {"/", 503, `{"error_code":50001,"message":"down"}`, []string{"fault schema "}, "50001", "start the registry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := admit(t, soundConfig())
			p.settings.Schemas = map[string]registry.Schema{"out": {Text: `"string"`}}
			found(t, check(t, p.settings))
			p.fake.Registry().Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, x.path) {
					return false
				}
				w.WriteHeader(x.status)
				_, _ = w.Write([]byte(x.body))
				return true
			})
			report := check(t, p.settings)
			found(t, report, x.want...)
			if x.says != "" {
				says(t, report, doctor.CheckSchema, x.says, x.change)
			}
		})
	}
}

// The registry's own level holds for subjects without one.
func TestGlobalLevel(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	k, err := sr.NewClient(sr.URLs(p.fake.RegistryURL()))
	noError(t, err, "client")
	noError(t, k.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatNone})[0].Err, "set NONE")
	found(t, check(t, p.settings), "fault schema out-value")
}

// What is accepted is reported and not wrong.
func TestAccept(t *testing.T) {
	t.Parallel()
	cfg := soundConfig()
	cfg.Brokers = 1
	p := admit(t, cfg)
	report := check(t, p.settings)
	found(t, report, "fault replication out")
	says(t, report, doctor.CheckReplication, "on a cluster of 1", "accept replication")
	if err := report.Err(); !errors.Is(err, doctor.ErrUnsound) || !strings.Contains(err.Error(), "replication of out: replication factor 1") {
		t.Errorf("Err: %v", err)
	}
	p.settings.Outputs = []string{"out", "out"} // said once
	found(t, check(t, p.settings), "fault replication out")
	for _, accept := range []string{"replication", "replication:out"} {
		p.settings.Accept = []string{accept}
		report = check(t, p.settings)
		found(t, report, "fault replication out")
		noError(t, report.Err(), "accepted")
		if !strings.Contains(table(t, report), "fault (accepted)") {
			t.Errorf("the table does not say so:\n%s", table(t, report))
		}
	}
	p.settings.Accept = []string{"replication:in"}
	if check(t, p.settings).Err() == nil {
		t.Error("another topic's acceptance counts")
	}
}

// Settings of a pipeline have its topics, and its name as the group.
func TestOf(t *testing.T) {
	t.Parallel()
	p := pipeline.New("orders", pipeline.DeadLetter("orders.dlq"))
	pipeline.Table(p, "customers", serde.String(), serde.String())
	pipeline.To(pipeline.From(p, "orders", serde.String()), "orders.out", serde.String())
	s := doctor.Of(p, kafka.Config{Brokers: []string{"b:1"}})
	if s.Config.Group != "orders" || !slices.Equal(s.Inputs, []string{"orders"}) || !slices.Equal(s.Tables, []string{"customers"}) || !slices.Equal(s.Outputs, []string{"orders.dlq", "orders.out"}) || !slices.Equal(s.DeadLetters, []string{"orders.dlq"}) {
		t.Errorf("%+v", s)
	}
	noError(t, s.Validate(), "validate")
}

// An idempotent producer without transactions on brokers before 2.8 needs a right of
// its own.
func TestIdempotentWrite(t *testing.T) {
	t.Parallel()
	old := kfake.MaxVersions(kversion.V2_7_0())
	right := right(kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationDescribe)
	s := doctor.Settings{Outputs: []string{"out"}, Config: kafka.Config{Brokers: withRights(t, rights(), old).fake.Brokers(), SASL: as}}
	found(t, check(t, s), "not visible acls ")
	s.Config.Brokers = withRights(t, append(rights(), right), old).fake.Brokers()
	report := check(t, s)
	found(t, report, "fault acls ")
	says(t, report, doctor.CheckACLs, "brokers before 2.8", "--operation IdempotentWrite --cluster")
	s.Config.Producer.Acks = kafka.AcksLeader
	found(t, check(t, s))
	s.Config.Producer.Acks = kafka.AcksAll
	s.Config.Brokers = withRights(t, append(rights(), right)).fake.Brokers()
	found(t, check(t, s))
}

// Nobody has used a group yet, so that no broker tells what the user may do to one.
func TestNoCoordinator(t *testing.T) {
	t.Parallel()
	for _, super := range []bool{false, true} {
		p := withRights(t, rights())
		fake := p.fake.Fake()
		fake.ControlKey(int16(kmsg.DescribeGroups), func(r kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			resp := r.ResponseKind().(*kmsg.DescribeGroupsResponse)
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.ErrorCode = kerr.CoordinatorNotAvailable.Code
			resp.Groups = append(resp.Groups, g)
			return resp, nil, true
		})
		want := []string{"not visible acls g", "not visible acls leat-g-a-0"}
		if super {
			p.settings.Config.SASL.User, want = "root", nil
		}
		found(t, check(t, p.settings), want...)
	}
}
