package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

// assignors are Kafka's names.
var assignors = map[kafka.Assignment]string{
	kafka.CooperativeSticky: "cooperative-sticky", kafka.Range: "range", kafka.RoundRobin: "roundrobin",
}

// member is what can be seen of a member of a group.
type member struct {
	instance, client, host string
	topics                 []string // nil if it does not tell
}

func (m member) String() string {
	s := fmt.Sprintf("%s at %s", m.client, m.at())
	if m.instance != "" {
		s = fmt.Sprintf("%s (instance %s)", s, m.instance)
	}
	return s
}

// at is the member's host, before which Java puts a slash.
func (m member) at() string { return strings.TrimPrefix(m.host, "/") }

// group looks for members that the group has already.
func (e *exam) group(ctx context.Context) {
	name := e.Config.Group
	if name == "" {
		return
	}
	g, err := e.client.DescribeGroup(ctx, name)
	switch {
	case cluster.IsAuth(err):
		e.find(CheckACLs, name, Fault, e.allow("Read", "--group "+name), "the user has no right Read, nor Describe, on the group")
		return
	case err != nil && !errors.Is(err, sarama.ErrGroupIDNotFound):
		e.find(CheckGroup, name, NotVisible, "", "its coordinator does not answer: %s", line(err))
		return
	}
	e.groupRights(g)
	if g == nil || len(g.Members) == 0 {
		e.newGroup(ctx)
		return
	}
	var members []member
	for _, id := range slices.Sorted(maps.Keys(g.Members)) {
		d := g.Members[id]
		m := member{client: d.ClientId, host: d.ClientHost}
		if d.GroupInstanceId != nil {
			m.instance = *d.GroupInstanceId
		}
		if meta, err := d.GetMemberMetadata(); err == nil && meta != nil {
			m.topics = meta.Topics
		}
		members = append(members, m)
	}
	ours := assignors[e.Config.Assignment]
	switch {
	case g.ProtocolType != "" && g.ProtocolType != "consumer":
		e.taken(members, "its members are not consumers (protocol type %s)", g.ProtocolType)
	case g.Protocol != "" && g.Protocol != ours:
		e.taken(members, "its members share partitions by %s, and we by %s: the group would refuse us", g.Protocol, ours)
	default:
		e.comrades(members)
	}
}

// newGroup looks among the groups of KIP-848, which an older question does not find.
func (e *exam) newGroup(ctx context.Context) {
	name := e.Config.Group
	g, err := e.client.DescribeNewGroup(ctx, name)
	if err != nil || g == nil || len(g.Members) == 0 { // an older broker has no such groups
		e.ok(CheckGroup, name, "it has no members")
		return
	}
	var members []member
	for _, m := range g.Members {
		members = append(members, member{client: m.ClientID, host: m.ClientHost, topics: m.SubscribedTopicNames})
	}
	e.taken(members, "its members use the protocol of KIP-848 (group.protocol=consumer)")
}

// taken reports that the group is another program's.
func (e *exam) taken(members []member, format string, args ...any) {
	e.find(CheckGroup, e.Config.Group, Fault, "give one of the two programs another group", "%s; active: %s", fmt.Sprintf(format, args...), list(members))
}

func list(members []member) string {
	var names []string
	for _, m := range members {
		names = append(names, m.String())
	}
	return some(names)
}

// comrades looks at members with which we could share partitions.
func (e *exam) comrades(members []member) {
	name, inputs := e.Config.Group, unique(e.Inputs)
	bad := false
	for _, m := range members {
		topics := slices.Sorted(slices.Values(m.topics))
		if m.topics != nil && len(inputs) > 0 && !slices.Equal(topics, inputs) {
			bad = true
			e.taken([]member{m}, "a member reads other topics (%s): it is another program", strings.Join(topics, ", "))
		}
		if m.instance != "" && m.instance == e.Config.Instance {
			bad = true
			e.find(CheckGroup, name, Fault, "stop that worker first, or give this one another Instance; if it has stopped, the group forgets it within its session time-out",
				"instance %s is a member already, at %s: of two workers with one name each ends the other", m.instance, m.at())
		}
	}
	if !bad {
		e.ok(CheckGroup, name, "its members read the same topics by the same protocol")
		e.find(CheckGroupActive, name, Warning, "stop them first, unless this is one more worker or a rolling deployment; then accept "+CheckGroupActive,
			"workers are active already: %s", list(members))
	}
}
