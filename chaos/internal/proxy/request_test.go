package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// read reads a request as a connection does.
func read(t testing.TB, req kmsg.Request, version int16, client string) *Request {
	t.Helper()
	req.SetVersion(version)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, req, 77)
	r, err := readRequest(bufio.NewReaderSize(bytes.NewReader(frame), readBuffer), 3, true)
	if err != nil {
		t.Fatal(err)
	}
	if r.Size != len(frame) || r.CorrelationID != 77 || r.Version != version || int16(r.APIKey) != req.Key() || r.Broker != 3 || r.ClientID != client {
		t.Fatalf("read %+v", r)
	}
	return r
}

func TestTransactionalID(t *testing.T) {
	id := "tx"
	produce := kmsg.NewPtrProduceRequest()
	produce.TransactionID, produce.Acks = &id, -1
	plain := kmsg.NewPtrProduceRequest()
	initID := kmsg.NewPtrInitProducerIDRequest()
	initID.TransactionalID = &id
	partitions := kmsg.NewPtrAddPartitionsToTxnRequest()
	partitions.TransactionalID = id
	offsets := kmsg.NewPtrAddOffsetsToTxnRequest()
	offsets.TransactionalID = id
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID = id
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID = id
	for _, c := range []struct {
		req         kmsg.Request
		first, last int16
		want        string
	}{
		{produce, 3, 13, id},
		{produce, 0, 2, ""}, // there was none yet
		{plain, 3, 13, ""},
		{initID, 0, 5, id},
		{kmsg.NewPtrInitProducerIDRequest(), 0, 5, ""},
		{partitions, 0, 3, id},
		{offsets, 0, 4, id},
		{end, 0, 5, id},
		{commit, 0, 5, id},
		{kmsg.NewPtrHeartbeatRequest(), 0, 4, ""},
	} {
		for v := c.first; v <= c.last; v++ {
			if got := read(t, c.req, v, "c").TransactionalID(); got != c.want {
				t.Errorf("%s %d: %q, want %q", kmsg.NameForKey(c.req.Key()), v, got, c.want)
			}
		}
	}
}

func TestAnswered(t *testing.T) {
	for v := int16(0); v <= 13; v++ {
		for _, acks := range []int16{-1, 0, 1} {
			req := kmsg.NewPtrProduceRequest()
			req.Acks = acks
			if got := read(t, req, v, "").answered(); got != (acks != 0) {
				t.Errorf("version %d, acks %d: answered %v", v, acks, got)
			}
		}
	}
	// A transactional.id so long that acks are not in sight.
	long := strings.Repeat("x", 2*prefix)
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks = &long, 0
	if !read(t, req, 9, "").answered() {
		t.Error("taken for one without an answer")
	}
}

func TestMatch(t *testing.T) {
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID = "tx"
	commits := func(r *Request) bool {
		body, err := r.Body()
		return err == nil && body.(*kmsg.EndTxnRequest).Commit
	}
	for _, c := range []struct {
		m    Match
		want bool
	}{
		{Match{}, true},
		{Match{APIKeys: []kmsg.Key{kmsg.Produce, kmsg.EndTxn}}, true},
		{Match{APIKeys: []kmsg.Key{kmsg.Produce}}, false},
		{Match{Brokers: []int32{3}}, true},
		{Match{Brokers: []int32{1, 2}}, false},
		{Match{ClientID: "client-1"}, true},
		{Match{ClientID: "client"}, false},
		{Match{ClientIDPrefix: "client"}, true},
		{Match{ClientIDPrefix: "client-2"}, false},
		{Match{Where: TransactionalID("tx")}, true},
		{Match{Where: TransactionalID("t")}, false},
		{Match{Where: commits}, false},
	} {
		if got := c.m.covers(read(t, end, 3, "client-1")); got != c.want {
			t.Errorf("%+v: %v", c.m, got)
		}
	}
	end.Commit = true
	if !(&Match{Where: commits}).covers(read(t, end, 5, "client-1")) {
		t.Error("a commit is not found")
	}
}

func TestBodyIsBounded(t *testing.T) {
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.SASLAuthBytes = make([]byte, maxBody)
	if _, err := read(t, req, 2, "").Body(); !errors.Is(err, ErrBodyTooLarge) {
		t.Errorf("%v, want ErrBodyTooLarge", err)
	}
	req.SASLAuthBytes = req.SASLAuthBytes[:maxBody/2]
	body, err := read(t, req, 2, "").Body()
	if err != nil || len(body.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes) != maxBody/2 {
		t.Errorf("%v", err)
	}
}

// No bytes make reading a request panic, nor a decoded one differ from its frame.
func FuzzRequest(f *testing.F) {
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID = "tx"
	for _, req := range []kmsg.Request{end, kmsg.NewPtrProduceRequest(), kmsg.NewPtrMetadataRequest()} {
		req.SetVersion(req.MaxVersion())
		f.Add(kmsg.NewRequestFormatter(kmsg.FormatterClientID("c")).AppendRequest(nil, req, 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		from := bufio.NewReaderSize(bytes.NewReader(b), readBuffer)
		r, err := readRequest(from, 0, true)
		if err != nil {
			return
		}
		r.answered()
		r.TransactionalID()
		_, _ = r.Body()
		if r.frame != nil && !bytes.Equal(r.frame, b[:r.Size]) {
			t.Error("the frame was changed")
		}
	})
}
