package console

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// StateVersion is the version of [State]. It changes when a field is renamed, removed
// or means something else, not when one is added.
const StateVersion = 1

// State is the document that /state.json answers with, all that the page shows. Times
// are milliseconds since 1970, durations milliseconds, rates per second. Rates and
// quantiles are of the last 5 seconds; null where there is nothing to tell yet.
type State struct {
	Version int    `json:"version"`
	Title   string `json:"title"`
	At      int64  `json:"at"`
	Began   int64  `json:"began"`
	// Again is after how long it is worth asking again.
	Again int64 `json:"again"`
	// NotReady are the reasons that /readyz gives, Failed those of /healthz.
	NotReady []string   `json:"notReady"`
	Failed   []string   `json:"failed"`
	Runs     []RunState `json:"runs"`
}

// RunState is one run.
type RunState struct {
	ID        int    `json:"id"`
	Pipeline  string `json:"pipeline"`
	Guarantee string `json:"guarantee"`
	// Phase is pipeline.Phase's word, PhaseAge how long it has been so.
	Phase    string  `json:"phase"`
	PhaseAge float64 `json:"phaseAge"`
	Began    int64   `json:"began"`
	Ended    int64   `json:"ended,omitempty"`
	Error    string  `json:"error,omitempty"`
	// Fixed are the graph and the settings; they do not change.
	Fixed json.RawMessage `json:"fixed"`

	In          *float64 `json:"in"`
	InBytes     *float64 `json:"inBytes"`
	Out         *float64 `json:"out"`
	Committed   *float64 `json:"committed"`
	RecordTime  Times    `json:"recordTime"`
	Curve       []int64  `json:"curve"` // In of the last two minutes
	Totals      Totals   `json:"totals"`
	Commits     Commits  `json:"commits"`
	Stages      []Stage  `json:"stages"` // in the order of the graph's nodes
	Edges       []*int64 `json:"edges"`  // rates, in the order of the graph's first edges
	Partitions  Claims   `json:"partitions"`
	Tables      []Table  `json:"tables"`
	DeadLetters []Letter `json:"deadLetters"` // the last 50, the newest first
}

// Times are quantiles; null if nothing was timed.
type Times struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

// Totals count from the start of the run.
type Totals struct {
	Records             int64 `json:"records"`
	Outputs             int64 `json:"outputs"`
	Committed           int64 `json:"committed"`
	DeadLetters         int64 `json:"deadLetters"`
	Skipped             int64 `json:"skipped"`
	Commits             int64 `json:"commits"`
	Aborts              int64 `json:"aborts"`
	Sessions            int64 `json:"sessions"`
	Recoveries          int64 `json:"recoveries"`
	InterceptorFailures int64 `json:"interceptorFailures"`
}

// Commits is the state of transactions; at least once, of what takes their place.
type Commits struct {
	// Age is the time since the last commit, null before the first.
	Age *float64 `json:"age"`
	// Overdue says why commits should come and do not, "" if all is well.
	Overdue string `json:"overdue,omitempty"`
	// Uncommitted is for how long there is finished work that is not committed.
	Uncommitted float64 `json:"uncommitted"`
	// Open is for how long a transaction with records is open, null if none is.
	Open        *float64 `json:"open"`
	OpenRecords int64    `json:"openRecords"`
	OpenBytes   int64    `json:"openBytes"`
	// Last is the last one that held records.
	Last *LastCommit `json:"last"`
	// Failed are those that were not committed, by reason.
	Failed []FailedCommits `json:"failed"`
}

// LastCommit is a transaction that has ended.
type LastCommit struct {
	At         int64   `json:"at"`
	Outcome    string  `json:"outcome"`
	Records    int64   `json:"records"`
	Took       float64 `json:"took"`
	Committing float64 `json:"committing"`
}

// FailedCommits counts transactions that ended in one way.
type FailedCommits struct {
	Outcome string `json:"outcome"` // aborted or unknown
	Reason  string `json:"reason"`
	Count   int64  `json:"count"`
}

// Stage is a node of the graph.
type Stage struct {
	In          *float64 `json:"in"`
	Out         *float64 `json:"out"`
	Time        Times    `json:"time"`
	Dropped     int64    `json:"dropped"`
	DeadLetters int64    `json:"deadLetters"`
	Skipped     int64    `json:"skipped"`
	Retries     int64    `json:"retries"`
	// RetriedLater are records that went to a retry topic.
	RetriedLater int64 `json:"retriedLater"`
	// Recent are dead letters and skipped records of the last minute.
	Recent int64 `json:"recent"`
	// Waiting is the number of partitions that wait here to try again.
	Waiting int `json:"waiting"`
	// Lag is an input's, of the partitions whose is known.
	Lag *int64 `json:"lag,omitempty"`
	// Hits is the part of look-ups that the cache answered, from the start.
	Hits *float64 `json:"hits,omitempty"`
}

// Claims are the partitions that the run owns.
type Claims struct {
	Total int `json:"total"`
	// Lag is the sum of those that are known, Unknown the number of the others.
	Lag     int64 `json:"lag"`
	Unknown int   `json:"unknown"`
	Waiting int   `json:"waiting"`
	// Worst are at most 100: those that wait, then those with the largest lag.
	Worst []Claim `json:"worst"`
}

// Claim is one partition.
type Claim struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Committed int64    `json:"committed"` // -1 if unknown
	Lag       int64    `json:"lag"`       // -1 if unknown
	Heard     *float64 `json:"heard"`     // for how long the broker has said nothing of it
	Waiting   string   `json:"waiting,omitempty"`
	Cause     string   `json:"cause,omitempty"`
	// Due is in what time the next record of a retry topic is due, null if the partition
	// does not wait for that; its lag is in no sum then.
	Due *float64 `json:"due"`
}

// Table is a table's size.
type Table struct {
	Topic   string `json:"topic"`
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	Lag     int64  `json:"lag"` // -1 if unknown
}

// Form is how a payload is shown.
type Form string

// The forms.
const (
	FormJSON   Form = "json"   // decoded by the input's serde
	FormText   Form = "text"   // as it came
	FormHex    Form = "hex"    // it is no text
	FormNull   Form = "null"   // a tombstone
	FormHidden Form = "hidden" // see Config.HidePayloads
)

// Letter is a dead letter. Key and Value are cut at 16 KiB; the sizes are the record's.
type Letter struct {
	At        int64  `json:"at"`
	Stage     string `json:"stage"`
	Reason    string `json:"reason"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       string `json:"key"`
	Value     string `json:"value"`
	Form      Form   `json:"form"`
	KeySize   int    `json:"keySize"`
	ValueSize int    `json:"valueSize"`
}

const (
	refreshEvery = time.Second
	refreshSoon  = 250 * time.Millisecond
	maxClaims    = 100
)

// fixed is what of a run does not change.
type fixed struct {
	Graph    graph            `json:"graph"`
	Settings []settingOfState `json:"settings"`
}

type settingOfState struct {
	Of    string `json:"of"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

func fixedPart(g graph, settings []pipeline.Setting) json.RawMessage {
	f := fixed{Graph: g, Settings: []settingOfState{}}
	for _, s := range settings {
		f.Settings = append(f.Settings, settingOfState(s))
	}
	b, err := json.Marshal(f)
	if err != nil { // plain data
		panic(err)
	}
	return b
}

// snapshot makes the document.
func (c *Console) snapshot(ctx context.Context) *State {
	s := &State{
		Version: StateVersion, Title: c.cfg.Title, At: time.Now().UnixMilli(), Began: c.began.UnixMilli(),
		Again: refreshEvery.Milliseconds(), Runs: []RunState{},
	}
	var ready readiness
	for _, x := range c.all() {
		v := x.now()
		ready.add(x.of.Pipeline.Name(), &v)
		r := x.state(&v)
		r.DeadLetters = x.letters.show(ctx)
		s.Runs = append(s.Runs, r)
		if suspicious(&v.Snapshot, v.interval) {
			s.Again = refreshSoon.Milliseconds()
		}
	}
	s.NotReady, s.Failed = ready.reasons(), c.failed()
	return s
}

func (x *run) state(v *view) RunState {
	r := RunState{
		ID: x.id, Pipeline: x.of.Pipeline.Name(), Guarantee: x.of.Guarantee.String(), Phase: v.Phase.String(),
		PhaseAge: ms(v.At.Sub(v.commits.phaseSince)), Began: x.began.UnixMilli(), Fixed: x.fixed, Curve: v.curve,
		Totals: Totals{
			v.Records, v.Outputs, v.Committed, v.DeadLetters, v.Skipped, v.Commits, v.Aborts, v.Sessions, v.Recoveries, v.InterceptorFailures,
		},
		Commits: v.commitState(), Partitions: v.claims(), Tables: v.tables(),
	}
	if !v.ended.IsZero() {
		r.Ended, r.Phase, r.PhaseAge = v.ended.UnixMilli(), pipeline.PhaseEnded.String(), ms(time.Since(v.ended))
	}
	if v.err != nil {
		r.Error = clipText(v.err.Error(), maxReason)
	}
	if b := v.since; b != nil {
		d := v.At.Sub(b.at)
		r.In, r.Out = rate(v.Records-b.records, d), rate(v.Outputs-b.outputs, d)
		r.InBytes, r.Committed = rate(v.InputBytes-b.inputBytes, d), rate(v.Snapshot.Committed-b.committed, d)
		r.RecordTime = quantiles(v.RecordTime.Since(b.recordTime))
	}
	r.Stages, r.Edges = x.stages(v), x.edges(v)
	return r
}

func (v *view) commitState() Commits {
	c := Commits{
		Overdue: overdue(&v.Snapshot, v.commits, v.interval), Uncommitted: ms(age(v.At, v.UncommittedSince)),
		Failed: append(failures(pipeline.Aborted, v.AbortsByReason), failures(pipeline.OutcomeUnknown, v.UnknownByReason)...),
	}
	if !v.LastCommit.IsZero() {
		c.Age = new(ms(max(0, v.At.Sub(v.LastCommit))))
	}
	if t := v.Transaction; !t.Began.IsZero() {
		c.Open, c.OpenRecords, c.OpenBytes = new(ms(max(0, v.At.Sub(t.Began)))), t.Records, t.Bytes
	}
	if l := v.last; !l.at.IsZero() {
		c.Last = &LastCommit{l.at.UnixMilli(), l.outcome, l.records, ms(l.took), ms(l.committing)}
	}
	return c
}

func failures(o pipeline.Outcome, byReason map[string]int64) []FailedCommits {
	all := []FailedCommits{}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		all = append(all, FailedCommits{o.String(), reason, byReason[reason]})
	}
	return all
}

// stages are in the order of the topology, also before the run counts them.
func (x *run) stages(v *view) []Stage {
	all := make([]Stage, len(x.graph.Nodes))
	for i := range min(len(all), len(v.Stages)) {
		s, now := &all[i], &v.Stages[i]
		s.Dropped, s.DeadLetters, s.Skipped, s.Retries = now.Dropped, now.DeadLetters, now.Skipped, now.Retries
		s.RetriedLater = now.RetriedLater
		if c := now.Cache; c != nil && c.Hits+c.Misses > 0 {
			s.Hits = new(float64(c.Hits) / float64(c.Hits+c.Misses))
		}
		if b := v.since; b != nil {
			d, then := v.At.Sub(b.at), b.stage(i)
			s.In, s.Out = rate(now.In-then.In, d), rate(now.Out-then.Out, d)
			s.Time = quantiles(now.Time.Since(then.Time))
		}
		if b := v.minute; b != nil {
			then := b.stage(i)
			s.Recent = max(0, now.DeadLetters+now.Skipped-then.DeadLetters-then.Skipped)
		}
	}
	stage, input := map[string]int{}, map[string]int{}
	for i, n := range x.graph.Nodes {
		if n.Kind == "input" && len(n.Topics) > 0 {
			input[n.Topics[0]] = i
			for _, r := range n.RetryTopics {
				input[r] = i
			}
		}
		stage[n.Name] = i
	}
	for i := range v.Claims {
		c := &v.Claims[i]
		if n, ok := stage[c.Waiting]; ok && c.Waiting != "" {
			all[n].Waiting++
		}
		if n, ok := input[c.Topic]; ok && c.Lag >= 0 && c.Due.IsZero() {
			if all[n].Lag == nil {
				all[n].Lag = new(int64)
			}
			*all[n].Lag += c.Lag
		}
	}
	return all
}

func (x *run) edges(v *view) []*int64 {
	all := make([]*int64, 0, len(x.graph.Edges))
	for i, e := range x.graph.Edges {
		if e.Kind != edgeRecords {
			break
		}
		var r *int64
		if b := v.since; b != nil && i < len(v.Passed) {
			r = new(int64(perSecond(v.Passed[i]-b.edge(i), v.At.Sub(b.at)) + 0.5))
		}
		all = append(all, r)
	}
	return all
}

func (v *view) claims() Claims {
	c := Claims{Total: len(v.Claims), Worst: []Claim{}}
	worst := make([]*pipeline.PartitionStats, len(v.Claims))
	for i := range v.Claims {
		p := &v.Claims[i]
		worst[i] = p
		switch {
		case p.Lag < 0:
			c.Unknown++
		case p.Due.IsZero():
			c.Lag += p.Lag
		}
		if p.Waiting != "" {
			c.Waiting++
		}
	}
	slices.SortStableFunc(worst, func(a, b *pipeline.PartitionStats) int {
		if (a.Waiting != "") != (b.Waiting != "") {
			if a.Waiting != "" {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Lag, a.Lag)
	})
	for _, p := range worst[:min(len(worst), maxClaims)] {
		row := Claim{Topic: p.Topic, Partition: p.Partition.Partition, Committed: p.Committed, Lag: p.Lag, Waiting: p.Waiting}
		if !p.Heard.IsZero() {
			row.Heard = new(ms(max(0, v.At.Sub(p.Heard))))
		}
		if !p.Due.IsZero() {
			row.Due = new(ms(max(0, p.Due.Sub(v.At))))
		}
		if p.Cause != nil {
			row.Cause = clipText(p.Cause.Error(), maxReason)
		}
		c.Worst = append(c.Worst, row)
	}
	return c
}

func (v *view) tables() []Table {
	all := []Table{}
	for _, topic := range slices.Sorted(maps.Keys(v.Snapshot.Tables)) {
		t := v.Snapshot.Tables[topic]
		all = append(all, Table{topic, t.Entries, t.Bytes, t.Lag})
	}
	return all
}

func quantiles(d pipeline.Distribution) (t Times) {
	if d.Count() > 0 {
		t.P50, t.P99 = new(ms(d.Quantile(.5))), new(ms(d.Quantile(.99)))
	}
	return t
}

func rate(n int64, d time.Duration) *float64 {
	// One digit after the point is all that is shown.
	return new(float64(int64(perSecond(n, d)*10+0.5)) / 10)
}

// ms is to a microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
