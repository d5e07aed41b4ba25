package console

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/leat-stream/leat/pipeline"
)

const (
	maxLetters = 50
	// maxPayload bounds what is kept and shown of a key or a value, in bytes; a larger
	// value is not decoded.
	maxPayload = 16 << 10
	maxReason  = 2 << 10
	// decodeBudget bounds the decoding for one refresh: a serde may ask a registry. What
	// it could not decode is tried again after decodeAgain.
	decodeBudget = 250 * time.Millisecond
	decodeAgain  = 10 * time.Second
	maxTries     = 6
)

// letters are the last dead letters of a run. What is kept is a copy: a record's
// slices keep much larger ones alive.
type letters struct {
	pipeline *pipeline.Pipeline
	payloads bool

	mu   sync.Mutex
	last []*letter // the oldest first
}

// letter is one dead letter. Its fields but the last three do not change.
type letter struct {
	at         time.Time
	stage      string
	reason     string
	record     pipeline.Raw // clipped
	keySize    int
	valueSize  int
	tombstone  bool
	decoded    string // JSON
	tries      int
	notBefore  time.Time
	undecoded  bool // for good
	withheld   bool
	incomplete bool // the value is clipped
}

// keep is called on the engine's goroutine.
func (l *letters) keep(all []pipeline.DeadLettered) {
	if len(all) > maxLetters {
		all = all[len(all)-maxLetters:]
	}
	fresh := make([]*letter, len(all))
	for i := range all {
		fresh[i] = newLetter(&all[i], l.payloads)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = append(l.last, fresh...)
	if n := len(l.last) - maxLetters; n > 0 {
		l.last = append([]*letter(nil), l.last[n:]...)
	}
}

func newLetter(d *pipeline.DeadLettered, payloads bool) *letter {
	x := &letter{
		at: d.At, stage: d.Stage, keySize: len(d.Record.Key), valueSize: len(d.Record.Value),
		tombstone: d.Record.Value == nil, withheld: !payloads,
	}
	if d.Err != nil {
		x.reason = clipText(d.Err.Error(), maxReason)
	}
	x.record.Origin, x.record.Timestamp = d.Record.Origin, d.Record.Timestamp
	if !payloads {
		return x
	}
	x.record.Key, x.record.Value = clipBytes(d.Record.Key), clipBytes(d.Record.Value)
	x.incomplete = len(x.record.Value) < x.valueSize
	x.undecoded = x.tombstone || x.incomplete
	room := maxPayload // headers may name the schema
	for _, h := range d.Record.Headers {
		if room -= len(h.Key) + len(h.Value); room < 0 {
			x.undecoded = true
			break
		}
		x.record.Headers = append(x.record.Headers, pipeline.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)})
	}
	return x
}

func clipBytes(b []byte) []byte { return bytes.Clone(b[:min(len(b), maxPayload)]) }

// clipText cuts at a character's edge.
func clipText(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// show returns the letters, the newest first, decoded as far as the time allows. One
// goroutine calls it at a time.
func (l *letters) show(ctx context.Context) []Letter {
	l.mu.Lock()
	all := append([]*letter(nil), l.last...)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, decodeBudget)
	defer cancel()
	shown := make([]Letter, 0, len(all))
	for i := len(all) - 1; i >= 0; i-- {
		x := all[i]
		x.decode(ctx, l.pipeline)
		shown = append(shown, x.show())
	}
	return shown
}

// decode tries once, unless it is settled or not due.
func (x *letter) decode(ctx context.Context, p *pipeline.Pipeline) {
	if x.withheld || x.undecoded || x.decoded != "" || ctx.Err() != nil || time.Now().Before(x.notBefore) {
		return
	}
	value, err := p.Decode(ctx, &x.record)
	if err != nil {
		x.tries++
		later := pipeline.IsRetriable(err) || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)
		x.undecoded = !later || x.tries >= maxTries
		x.notBefore = time.Now().Add(decodeAgain)
		return
	}
	text, err := jsonOf(value)
	if err != nil {
		x.undecoded = true
		return
	}
	x.decoded = clipText(text, maxPayload)
}

var errNoJSON = errors.New("a value that says nothing as JSON")

// jsonOf renders a decoded value. Some types, such as dynamic Protobuf messages, keep
// all to themselves.
func jsonOf(value any) (text string, err error) {
	switch value.(type) {
	case string, []byte: // better as they came; JSON would have bytes in base64
		return "", errNoJSON
	}
	defer func() {
		if recover() != nil { // in a MarshalJSON
			err = errNoJSON
		}
	}()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the page shows text
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return "", err
	}
	text = strings.TrimSpace(b.String())
	if text == "{}" {
		return "", errNoJSON
	}
	return text, nil
}

func (x *letter) show() Letter {
	o := x.record.Origin
	l := Letter{
		At: x.at.UnixMilli(), Stage: x.stage, Reason: x.reason, Topic: o.Topic, Partition: o.Partition, Offset: o.Offset,
		KeySize: x.keySize, ValueSize: x.valueSize,
	}
	if x.withheld {
		l.Form = FormHidden
		return l
	}
	if x.record.Key != nil {
		l.Key, _ = readable(x.record.Key)
	}
	switch {
	case x.tombstone:
		l.Form = FormNull
	case x.decoded != "":
		l.Value, l.Form = x.decoded, FormJSON
	default:
		l.Value, l.Form = readable(x.record.Value)
		if x.incomplete {
			l.Value += "…"
		}
	}
	return l
}

// readable returns bytes as text if they are some, else in hexadecimal, a third of
// them if they are many.
func readable(b []byte) (text string, form Form) {
	whole := b
	for cut := 0; cut < utf8.UTFMax && len(whole) == maxPayload && !utf8.Valid(whole); cut++ {
		whole = whole[:len(whole)-1] // clipped within a character
	}
	if utf8.Valid(whole) && !bytes.ContainsFunc(whole, unprintable) {
		return string(whole), FormText
	}
	dots := ""
	if most := maxPayload / 3; len(b) > most {
		b, dots = b[:most], "…"
	}
	digits := hex.EncodeToString(b)
	var out strings.Builder
	for i := 0; i < len(digits); i += 2 {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(digits[i : i+2])
	}
	return out.String() + dots, FormHex
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
}
