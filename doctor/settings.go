package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

// The names of the checks.
const (
	CheckBrokers            = "brokers"
	CheckVersions           = "versions"
	CheckTopics             = "topics"
	CheckACLs               = "acls"
	CheckReplication        = "replication"
	CheckMinISR             = "min-isr"
	CheckMessageSize        = "message-size"
	CheckCompression        = "compression"
	CheckPartitioner        = "partitioner"
	CheckCleanup            = "cleanup"
	CheckState              = "state"
	CheckTransactionTimeout = "transaction-timeout"
	CheckTransactionVersion = "transaction-version"
	CheckTransactionalID    = "transactional-id"
	CheckGroup              = "group"
	CheckGroupActive        = "group-active"
	CheckSchema             = "schema"
)

// Checks returns the names of all checks, in the order in which they run.
func Checks() []string {
	return []string{
		CheckBrokers, CheckVersions, CheckTopics, CheckACLs, CheckReplication, CheckMinISR, CheckMessageSize, CheckCompression,
		CheckPartitioner, CheckCleanup, CheckState, CheckTransactionTimeout, CheckTransactionVersion, CheckTransactionalID, CheckGroup, CheckGroupActive, CheckSchema,
	}
}

// Settings are what the program will do, which is what the cluster is judged by.
// Only Config.Brokers is required; what is not given is not looked at. [Of] fills them in
// from a pipeline.
type Settings struct {
	// Config is what the pipeline runs with, with the same defaults. Without
	// Config.Group it is a [kafka.Producer]: of Config, only the connection and Producer
	// count.
	Config kafka.Config
	// Inputs are the topics that the group reads, Tables those read whole by every
	// worker, Outputs those written to.
	Inputs, Tables, Outputs []string
	// DeadLetters are those of Outputs that take dead letters.
	DeadLetters []string
	// States are the topics in which stages keep their state; they are among Outputs, too.
	States []pipeline.StateTopic
	// Retries are those of Inputs and Outputs that are retry topics, Marks those of Tables and
	// Outputs that say which keys wait in one.
	Retries []pipeline.RetryTier
	Marks   []string
	// TransactionalID is that of a [kafka.Producer]. A pipeline's follows from Config.
	TransactionalID string

	// Registry, if not nil, is asked what it demands of each output topic's next schema.
	// Subjects are named after topics: topic-value.
	Registry *registry.Client
	// Schemas are, by topic, the schemas that the values will have.
	Schemas map[string]registry.Schema

	// Accept names what is known and to be lived with: a check, as in "replication" on a
	// cluster of one broker, or one of its subjects, as in "compression:orders". It is
	// reported, and not wrong.
	Accept []string
}

// Of returns the settings for a pipeline that is run with cfg.
func Of(p *pipeline.Pipeline, cfg kafka.Config) Settings {
	cfg.Group = cmp.Or(cfg.Group, p.Name())
	s := Settings{Config: cfg, Inputs: p.Inputs(), Tables: p.Tables(), Outputs: p.Outputs(), States: p.States()}
	if dead := p.DeadLetterTopic(); dead != "" {
		s.DeadLetters = []string{dead}
	}
	for _, n := range p.Topology().Nodes {
		s.Retries = append(s.Retries, n.RetryTopics...)
		if n.Marks != "" {
			s.Marks = append(s.Marks, n.Marks)
		}
	}
	return s
}

// Validate reports every mistake at once.
func (s Settings) Validate() error {
	var bad []error
	if s.Config.Group != "" {
		bad = append(bad, s.Config.Validate())
		if s.TransactionalID != "" {
			bad = append(bad, errors.New("a TransactionalID is a Producer's; that of a pipeline follows from Group and Instance"))
		}
	} else {
		bad = append(bad, kafka.ProducerSettings{
			Brokers: s.Config.Brokers, ClientID: s.Config.ClientID, TLS: s.Config.TLS, AllowInsecureTLS: s.Config.AllowInsecureTLS, SASL: s.Config.SASL,
			Producer: s.Config.Producer, TransactionalID: s.TransactionalID,
		}.Validate())
		if len(s.Inputs) > 0 {
			bad = append(bad, errors.New("without Config.Group nobody reads Inputs"))
		}
	}
	if slices.Contains(s.topics(), "") {
		bad = append(bad, errors.New("a topic's name is empty"))
	}
	for topic := range s.Schemas {
		if s.Registry == nil {
			bad = append(bad, errors.New("without Registry there is nobody to ask about Schemas"))
			break
		}
		if !slices.Contains(s.Outputs, topic) {
			bad = append(bad, fmt.Errorf("topic %q of Schemas is not among Outputs", topic))
		}
	}
	for _, topic := range s.DeadLetters {
		if !slices.Contains(s.Outputs, topic) {
			bad = append(bad, fmt.Errorf("topic %q of DeadLetters is not among Outputs", topic))
		}
	}
	for _, a := range s.Accept {
		if name, _, _ := strings.Cut(a, ":"); !slices.Contains(Checks(), name) {
			bad = append(bad, fmt.Errorf("no check %q to Accept; there are %s", name, strings.Join(Checks(), ", ")))
		}
	}
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: doctor.Settings:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

// topics are all topics, each once.
func (s *Settings) topics() []string {
	return unique(slices.Concat(s.Inputs, s.Tables, s.Outputs))
}

func unique(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// transactional tells that outputs are written in transactions.
func (s *Settings) transactional() bool {
	return s.TransactionalID != "" || s.Config.Group != "" && s.Config.Delivery == pipeline.ExactlyOnce
}

const producersTransactionTimeout = time.Minute

// producer is the producer's configuration with the defaults that will hold.
func (s *Settings) producer() kafka.ProducerConfig {
	p := s.Config.Producer
	switch {
	case p.TransactionTimeout != 0:
	case s.TransactionalID != "":
		p.TransactionTimeout = producersTransactionTimeout
	default:
		p.TransactionTimeout = max(p.WithDefaults().TransactionTimeout, 3*s.Config.CommitInterval)
	}
	return p.WithDefaults()
}

func (s *Settings) connection() cluster.Config {
	c := s.Config
	return cluster.Config{Brokers: c.Brokers, ClientID: cmp.Or(c.ClientID, "leat-doctor"), TLS: c.TLS, AllowInsecureTLS: c.AllowInsecureTLS, SASL: c.SASL}
}

func (s *Settings) accepts(f Finding) bool {
	return slices.Contains(s.Accept, f.Check) || slices.Contains(s.Accept, f.Check+":"+f.Subject)
}
