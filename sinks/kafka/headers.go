package kafka

import (
	"fmt"
	"sync"

	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// The names of the usual headers. Readers see them without decoding the value. Each
// costs its name and value and a few bytes with every record; within a batch they are
// compressed along with the rest.
const (
	HeaderSource        = "source"
	HeaderContentType   = "content-type"
	HeaderSchemaVersion = "schema-version"
	HeaderTraceID       = "trace-id"
)

// SourceHeader says which service the record comes from.
func SourceHeader(service string) pipeline.Header { return textHeader(HeaderSource, service) }

// ContentTypeHeader says what the value is, as application/json.
func ContentTypeHeader(mediaType string) pipeline.Header {
	return textHeader(HeaderContentType, mediaType)
}

// SchemaVersionHeader says by which version of its schema the value was written.
func SchemaVersionHeader(version string) pipeline.Header {
	return textHeader(HeaderSchemaVersion, version)
}

// TraceIDHeader carries a trace's id.
func TraceIDHeader(id string) pipeline.Header { return textHeader(HeaderTraceID, id) }

func textHeader(key, value string) pipeline.Header {
	return pipeline.Header{Key: key, Value: []byte(value)}
}

// sendHeaders are headers as the machine takes them, which copies them.
var sendHeaders = sync.Pool{New: func() any { return new([]send.Header) }}

func freeHeaders(buf *[]send.Header) {
	clear(*buf)
	*buf = (*buf)[:0]
	sendHeaders.Put(buf)
}

// checkHeaders holds a record's headers against MaxHeaders and MaxHeaderBytes.
func (s *ProducerSettings) checkHeaders(h pipeline.Headers) error {
	if s.MaxHeaders > 0 && len(h) > s.MaxHeaders {
		return fmt.Errorf("%w: %d headers, more than MaxHeaders (%d)", ErrHeaders, len(h), s.MaxHeaders)
	}
	if s.MaxHeaderBytes == 0 {
		return nil
	}
	n := 0
	for i := range h {
		n += len(h[i].Key) + len(h[i].Value)
	}
	if n > s.MaxHeaderBytes {
		return fmt.Errorf("%w: %d bytes of headers, more than MaxHeaderBytes (%d)", ErrHeaders, n, s.MaxHeaderBytes)
	}
	return nil
}
