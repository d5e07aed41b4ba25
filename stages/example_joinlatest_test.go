package stages_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

type (
	bill   struct{ Order, Amount string }
	parcel struct{ Order, Place string }
	// either brings both to one topic.
	either struct {
		Bill   *bill   `json:",omitempty"`
		Parcel *parcel `json:",omitempty"`
	}
)

func (e either) key() string {
	if e.Bill != nil {
		return e.Bill.Order
	}
	return e.Parcel.Order
}

// Two topics are brought together by key in a third, and its two kinds of records are
// joined: whichever comes last, the other one is known.
func ExampleJoinLatest() {
	p := pipeline.New("deliveries")
	bills := stages.Map(pipeline.From(p, "bills", serde.JSON[bill]()), "a bill", func(b bill) (either, error) { return either{Bill: &b}, nil })
	parcels := stages.Map(pipeline.From(p, "parcels", serde.JSON[parcel]()), "a parcel", func(v parcel) (either, error) { return either{Parcel: &v}, nil })
	keyed := stages.KeyBy(stages.Merge("both", bills, parcels), "by order", either.key, serde.String())
	together := pipeline.Through(keyed, "by-order", serde.JSON[either]())

	left, right := stages.Split(together, "kind", func(e either) bool { return e.Bill != nil })
	joined := stages.JoinLatest(
		stages.Map(left, "the bill", func(e either) (bill, error) { return *e.Bill, nil }),
		stages.Map(right, "the parcel", func(e either) (parcel, error) { return *e.Parcel, nil }),
		"join", serde.JSON[bill](), serde.JSON[parcel](),
		func(b bill, v parcel) (string, error) {
			return fmt.Sprintf("%s: %s, %s", b.Order, b.Amount, v.Place), nil
		},
		stages.JoinConfig{Topic: "by-order.latest"})
	pipeline.To(joined, "deliveries", serde.String())

	c := pipelinetest.For(p)
	c.Feed("bills", pipelinetest.Value(serde.JSON[bill](), bill{"o1", "10 EUR"}), pipelinetest.Value(serde.JSON[bill](), bill{"o2", "20 EUR"}))
	c.Feed("parcels", pipelinetest.Value(serde.JSON[parcel](), parcel{"o2", "on its way"}))
	for _, place := range []string{"packed", "delivered"} {
		c.Feed("parcels", pipelinetest.Value(serde.JSON[parcel](), parcel{"o1", place}))
		if err := c.Run(context.Background(), p); err != nil {
			fmt.Println(err)
		}
	}
	for _, v := range slices.Sorted(slices.Values(pipelinetest.Values(c, "deliveries", serde.String()))) {
		fmt.Println(v)
	}
	// Output:
	// o1: 10 EUR, delivered
	// o1: 10 EUR, packed
	// o2: 20 EUR, on its way
}
