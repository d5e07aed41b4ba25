package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Log is what one reader has seen of the output topics.
type Log struct {
	// Name is the reader's.
	Name string
	// Units has the names of the records' units.
	Units *Units
	// Records are by topic and partition, in the order in which they were seen.
	Records [workload.NumOutputs][][]Record
	// Manifests are the contents of the records of the topic of manifests.
	Manifests []workload.Manifest
	// Bad describes the first records that are not what a worker writes; NumBad
	// counts all of them.
	Bad    []string
	NumBad int
	// Failed is why the reader could not go on, if it could not: something was
	// taken back that it had seen, or was to see.
	Failed error

	file *os.File
	out  *bufio.Writer
	line []byte
}

const maxBad = 5

// Len is the number of records of a topic.
func (l *Log) Len(topic int) (n int) {
	for _, records := range l.Records[topic] {
		n += len(records)
	}
	return n
}

// create has the log write what is added to a file, a line for each record: topic,
// partition, offset, the input's partition and offset, index, unit, and the hashes of
// key and value, which can be compared within one run.
func (l *Log) create(path string) (err error) {
	if path == "" {
		return nil
	}
	if l.file, err = os.Create(path); err != nil {
		return fmt.Errorf("history of %s: %w", l.Name, err)
	}
	l.out = bufio.NewWriterSize(l.file, 1<<16)
	return nil
}

func (l *Log) close() error {
	if l.file == nil {
		return nil
	}
	err := l.out.Flush()
	if cerr := l.file.Close(); err == nil {
		err = cerr
	}
	l.file, l.out = nil, nil
	if err != nil {
		return fmt.Errorf("history of %s: %w", l.Name, err)
	}
	return nil
}

// add takes a record of a topic into the log.
func (l *Log) add(topic int, r *kgo.Record) {
	rec, err := l.read(topic, r)
	if err != nil {
		l.NumBad++
		if len(l.Bad) < maxBad {
			l.Bad = append(l.Bad, fmt.Sprintf("%s[%d]@%d: %v", r.Topic, r.Partition, r.Offset, err))
		}
		rec = Record{Offset: r.Offset, Partition: -1, Source: -1, Key: Hash(r.Key), Value: Hash(r.Value)}
	}
	for int(r.Partition) >= len(l.Records[topic]) {
		l.Records[topic] = append(l.Records[topic], nil)
	}
	l.Records[topic][r.Partition] = append(l.Records[topic][r.Partition], rec)
	l.write(r, rec)
}

func (l *Log) read(topic int, r *kgo.Record) (Record, error) {
	if topic != workload.Manifests {
		return parse(r, topic, l.Units)
	}
	var m workload.Manifest
	if err := json.Unmarshal(r.Value, &m); err != nil {
		return Record{}, fmt.Errorf("no manifest: %w", err)
	}
	unit := l.Units.ID([]byte(m.Unit))
	m.Unit = l.Units.Name(unit) // one text for all logs
	l.Manifests = append(l.Manifests, m)
	return Record{
		Offset: r.Offset, Source: m.First, Partition: m.Partition, Unit: unit, Key: Hash(r.Key), Value: Hash(r.Value),
	}, nil
}

func (l *Log) write(r *kgo.Record, rec Record) {
	if l.out == nil {
		return
	}
	b := append(l.line[:0], r.Topic...)
	for _, n := range []int64{int64(r.Partition), rec.Offset, int64(rec.Partition), rec.Source, int64(rec.Index)} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	b = append(append(b, ' '), l.Units.Name(rec.Unit)...)
	for _, h := range []uint64{rec.Key, rec.Value} {
		b = strconv.AppendUint(append(b, ' '), h, 16)
	}
	l.line = append(b, '\n')
	_, _ = l.out.Write(l.line) // the error is kept for Flush
}
