package serdetest_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/serdetest"
)

// decimal is a serde as a user would write it.
type decimal struct{}

func (decimal) Append(_ context.Context, dst []byte, _ pipeline.Slot, v int64) ([]byte, error) {
	return strconv.AppendInt(dst, v, 10), nil
}

func (decimal) Decode(_ context.Context, _ pipeline.Slot, data []byte) (int64, error) {
	v, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return 0, errors.New("not a decimal number") // err would quote the record
	}
	return v, nil
}

func TestDecimal(t *testing.T) {
	serdetest.Suite[int64]{
		Serde:  decimal{},
		Values: []int64{0, -1, 1 << 62},
		Reject: [][]byte{{}, []byte("x"), []byte("99999999999999999999")},
		Secret: "99999999999999999999",
	}.Run(t)
}
