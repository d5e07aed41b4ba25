package doctor

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Check looks at the cluster and returns what it found. Its error says that the settings
// are wrong, or that ctx ended first, in which case what was found until then comes with
// it. A cluster that cannot be reached is a finding, not an error. On a cluster that
// answers it takes a second or so, most of it to read at most 1,000 records of each
// output topic; each broker that does not answer costs some seconds at each question.
// Checks may run concurrently.
func Check(ctx context.Context, s Settings) (*Report, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s.Outputs = unique(s.Outputs)
	e := &exam{Settings: &s, producer: s.producer(), over: ctx.Done(), report: &Report{Findings: []Finding{}}}
	if e.brokers(ctx) {
		e.versions()
		e.topicsExist(ctx)
		e.topicRights()
		for _, topic := range e.Outputs {
			if e.topics[topic] == nil { // reported
				continue
			}
			e.replication(topic)
			e.minISR(topic)
			e.messageSize(topic)
			e.compression(topic)
			if !e.isState(topic) { // it has the partitions of its input, whatever the keys
				e.partitioner(ctx, topic)
			}
		}
		for _, st := range e.States {
			e.state(st)
		}
		e.cleanup()
		e.transactionTimeout(ctx)
		e.transactionVersion()
		e.transactionalID(ctx)
		e.group(ctx)
	}
	e.schemas(ctx)
	if e.client != nil {
		_ = e.client.Close() // connections that nobody uses
	}
	if ctx.Err() != nil {
		return e.report, fmt.Errorf("not all checks were made: %w", context.Cause(ctx))
	}
	return e.report, nil
}

// exam is one run of the checks, with what the later ones have from the earlier ones.
type exam struct {
	*Settings
	producer kafka.ProducerConfig
	report   *Report
	over     <-chan struct{} // what is found afterwards is that nothing answered in time

	client *cluster.Client
	nodes  []node // that answer

	rights   bool // topics and the cluster say what the user may do to them
	topics   map[string]*sarama.TopicMetadata
	onTheAll int32 // what the user may do to the cluster
	settings map[string]cluster.Settings
	refused  error // why there are no settings
}

func (e *exam) find(check, subject string, v Verdict, change, format string, args ...any) {
	select {
	case <-e.over:
		return
	default:
	}
	f := Finding{Check: check, Subject: subject, Verdict: v, Text: fmt.Sprintf(format, args...), Change: change}
	f.Accepted = (v == Fault || v == Warning) && e.accepts(f)
	e.report.Findings = append(e.report.Findings, f)
}

func (e *exam) ok(check, subject, format string, args ...any) {
	e.find(check, subject, OK, "", format, args...)
}

// tool is a command of Kafka's. On a secured cluster it needs a file of its own with
// how to connect.
func (e *exam) tool(name, format string, args ...any) string {
	name += " --bootstrap-server " + e.Config.Brokers[0]
	if e.Config.TLS != nil || e.Config.SASL.Mechanism != "" {
		name += " --command-config FILE"
	}
	return name + " " + fmt.Sprintf(format, args...)
}

// allow is the command that grants a right to the user.
func (e *exam) allow(operation, on string) string {
	user := "NAME"
	if e.Config.SASL.User != "" {
		user = e.Config.SASL.User
	}
	return e.tool("kafka-acls.sh", "--add --allow-principal User:%s --operation %s %s", user, operation, on)
}

// setTopic is the command that changes a topic's setting.
func (e *exam) setTopic(topic, setting string) string {
	return e.tool("kafka-configs.sh", "--alter --entity-type topics --entity-name %s --add-config %s", topic, setting)
}

// setting returns a topic's effective setting. If it cannot be seen, that is reported.
func (e *exam) setting(check, topic, name string) (value string, ok bool) {
	s, asked := e.settings[topic]
	err := e.refused
	if asked {
		err = s.Err
	}
	if err == nil {
		if value, ok = s.Values[name]; ok {
			return value, true
		}
		e.find(check, topic, NotVisible, "", "the broker does not tell %s", name)
		return "", false
	}
	change := ""
	if cluster.IsAuth(err) {
		change = e.allow("DescribeConfigs", "--topic "+topic)
	}
	e.find(check, topic, NotVisible, change, "%s cannot be seen: %s", name, line(err))
	return "", false
}

// line is an error in one line. A connection that was given up in time reports that it
// was closed.
func line(err error) string {
	return strings.NewReplacer("\n", "; ", net.ErrClosed.Error(), "no answer in time").Replace(err.Error())
}
