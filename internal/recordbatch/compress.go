package recordbatch

import (
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/gzip"
	snappy "github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a compression as batches name it.
type Codec int8

// The codecs, with the numbers that they have on the wire.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// DefaultLevel is the codec's own.
const DefaultLevel = math.MinInt32

// Compressor compresses bodies. It may be used from several goroutines.
type Compressor struct {
	codec Codec
	level int
	pool  sync.Pool
}

// NewCompressor returns a compressor. A level other than DefaultLevel is for Gzip
// (1 to 9) and Zstd (1 to 22, of which the library knows four steps).
func NewCompressor(codec Codec, level int) (*Compressor, error) {
	c := &Compressor{codec: codec, level: level}
	switch codec {
	case None, Snappy:
		return c, nil
	case Gzip, LZ4, Zstd:
	default:
		return nil, fmt.Errorf("compression codec %d is not known", codec)
	}
	w, err := c.writer()
	if err != nil {
		return nil, fmt.Errorf("compression level %d: %w", level, err)
	}
	c.pool.Put(w)
	return c, nil
}

// Codec returns what the compressor makes.
func (c *Compressor) Codec() Codec { return c.codec }

func (c *Compressor) writer() (any, error) {
	switch c.codec {
	case Gzip:
		level := c.level
		if level == DefaultLevel {
			level = gzip.DefaultCompression
		}
		return gzip.NewWriterLevel(nil, level)
	case Zstd:
		level := zstd.SpeedDefault
		if c.level != DefaultLevel {
			level = zstd.EncoderLevelFromZstd(c.level)
		}
		return zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1))
	default:
		w := lz4.NewWriter(nil)
		// As Kafka's own client: blocks of 64 KiB, no checksums, since the batch has one.
		return w, w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false))
	}
}

// sink is a writer to the end of a slice.
type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}

// Compress returns src compressed, in buf if it fits.
func (c *Compressor) Compress(buf, src []byte) ([]byte, error) {
	switch c.codec {
	case None:
		return append(buf[:0], src...), nil
	case Snappy:
		return snappy.Encode(buf[:0], src), nil
	}
	w := c.pool.Get()
	if w == nil {
		var err error
		if w, err = c.writer(); err != nil {
			return nil, err
		}
	}
	defer c.pool.Put(w)
	if enc, ok := w.(*zstd.Encoder); ok {
		return enc.EncodeAll(src, buf[:0]), nil
	}
	out := sink(buf[:0])
	stream := w.(interface {
		io.WriteCloser
		Reset(io.Writer)
	})
	stream.Reset(&out)
	if _, err := stream.Write(src); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil {
		return nil, err
	}
	return out, nil
}
