package pipeline

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// marks are the records of an input that wait in its retry topic, as the topic of the marks has
// them: a mark's key is the partition and offset of the record, its value the record's key.
// It is written with the record, and deleted when that is done. They are of one run.
type marks struct {
	topic string

	mu    sync.Mutex
	lines map[int32]*line
}

func newMarks(topic string) *marks { return &marks{topic: topic, lines: map[int32]*line{}} }

// markKey is a place in the input.
func markKey(o Origin) []byte { return fmt.Appendf(nil, "%d|%d", o.Partition, o.Offset) }

func parseMark(key []byte) (partition int32, offset int64, ok bool) {
	first, second, _ := strings.Cut(string(key), "|")
	p, err1 := strconv.ParseInt(first, 10, 32)
	o, err2 := strconv.ParseInt(second, 10, 64)
	return int32(p), o, err1 == nil && err2 == nil
}

// apply takes a record of the topic. What is no mark is not ours.
func (m *marks) apply(r *Raw) {
	partition, offset, ok := parseMark(r.Key)
	if !ok {
		return
	}
	m.of(partition).know(offset, r.Value)
}

func (m *marks) of(partition int32) *line {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lines[partition]
	if l == nil {
		l = newLine()
		m.lines[partition] = l
	}
	return l
}

// size is the number of marks, and of bytes in them.
func (m *marks) size() (entries int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lines {
		n, b := l.size()
		entries, bytes = entries+n, bytes+b
	}
	return entries, bytes
}

// line is the part of one partition of the input. What its claim has added counts at once; the
// topic's word replaces it when it comes. A deletion that comes late does no harm: a
// record that goes to the retry topic needlessly is behind those before it all the same.
type line struct {
	waiting atomic.Int64 // records; read without the lock

	mu    sync.Mutex
	known map[int64]string // key by offset: what the topic says
	own   map[int64]string // what the claim has added and the topic has not said yet
	keys  map[string]int   // how many wait, of both
}

func newLine() *line {
	return &line{known: map[int64]string{}, own: map[int64]string{}, keys: map[string]int{}}
}

// waits reports whether a record of a key waits.
func (l *line) waits(key []byte) bool {
	if l.waiting.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[string(key)] > 0
}

// add is called by the claim.
func (l *line) add(offset int64, key []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(l.own, offset)
	if _, ok := l.known[offset]; !ok {
		l.put(l.own, offset, string(key))
	}
}

// know is what the topic says: a nil key is a deletion.
func (l *line) know(offset int64, key []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(l.own, offset)
	l.drop(l.known, offset)
	if key != nil {
		l.put(l.known, offset, string(key))
	}
}

// undo forgets what the claim has added from an offset on: it was not committed.
func (l *line) undo(from int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for offset := range l.own {
		if offset >= from {
			l.drop(l.own, offset)
		}
	}
}

func (l *line) put(to map[int64]string, offset int64, key string) {
	to[offset] = key
	l.keys[key]++
	l.waiting.Add(1)
}

func (l *line) drop(from map[int64]string, offset int64) {
	key, ok := from[offset]
	if !ok {
		return
	}
	delete(from, offset)
	l.waiting.Add(-1)
	if l.keys[key]--; l.keys[key] == 0 {
		delete(l.keys, key)
	}
}

func (l *line) size() (entries int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, of := range []map[int64]string{l.known, l.own} {
		for _, key := range of {
			entries++
			bytes += int64(len(key)) + 8
		}
	}
	return entries, bytes
}
