package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

type avroKey struct {
	Region string `avro:"region" json:"region"`
	Number int64  `avro:"number" json:"number"`
}

type avroAddress struct {
	Street string `avro:"street" json:"street"`
	Floor  *int32 `avro:"floor" json:"floor"`
}

type everything struct {
	Region  string           `avro:"region"`
	Note    *string          `avro:"note"`
	Choice  any              `avro:"choice"`
	Tags    []string         `avro:"tags"`
	Counts  map[string]int64 `avro:"counts"`
	Address avroAddress      `avro:"address"`
	Earlier []avroAddress    `avro:"earlier"`
	Hash    [4]byte          `avro:"hash"`
	Blob    []byte           `avro:"blob"`
	Small   int32            `avro:"small"`
	Big     int64            `avro:"big"`
	Half    float32          `avro:"half"`
	Tenth   float64          `avro:"tenth"`
	On      bool             `avro:"on"`
	Price   *big.Rat         `avro:"price"`
	Rate    *big.Rat         `avro:"rate"`
	Day     time.Time        `avro:"day"`
	OfDay   time.Duration    `avro:"time_ms"`
	ExactOf time.Duration    `avro:"time_us"`
	StampMS time.Time        `avro:"stamp_ms"`
	StampUS time.Time        `avro:"stamp_us"`
	LocalUS time.Time        `avro:"local_us"`
	ID      [16]byte         `avro:"id"`
	Period  avro.Duration    `avro:"period"`
}

const stamp = "2006-01-02T15:04:05.000000"

func timeOfDay(d time.Duration) string { return time.Time{}.Add(d).Format("15:04:05.000000") }

func uuid(id [16]byte) string {
	s := hex.EncodeToString(id[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", s[:8], s[8:12], s[12:16], s[16:20], s[20:])
}

func (e *everything) document() (any, error) {
	return map[string]any{
		"region": e.Region, "note": e.Note, "choice": e.Choice, "tags": e.Tags, "counts": e.Counts, "address": e.Address, "earlier": e.Earlier,
		"hash": base64.StdEncoding.EncodeToString(e.Hash[:]), "blob": base64.StdEncoding.EncodeToString(e.Blob),
		"small": e.Small, "big": e.Big, "half": e.Half, "tenth": e.Tenth, "on": e.On, "price": e.Price.FloatString(2), "rate": e.Rate.FloatString(4),
		"day": e.Day.Format(time.DateOnly), "time_ms": timeOfDay(e.OfDay), "time_us": timeOfDay(e.ExactOf),
		"stamp_ms": e.StampMS.UTC().Format(stamp) + "Z", "stamp_us": e.StampUS.UTC().Format(stamp) + "Z", "local_us": e.LocalUS.Format(stamp),
		"id": uuid(e.ID), "period": []uint32{e.Period.Months, e.Period.Days, e.Period.Milliseconds},
	}, nil
}

func ptr[T any](v T) *T { return &v }

// everythings are the values that testdata/expected.json describes, but for the tombstone.
func everythings() []*everything {
	at := time.Date(2026, 3, 29, 0, 59, 59, 123_456_000, time.UTC)
	epoch := time.Unix(0, 0).UTC()
	price, _ := new(big.Rat).SetString("-12345678901234567890.05")
	return []*everything{
		{
			Region: "ASIA", Note: ptr("Größe № 水"), Choice: int64(1<<53 + 1), Tags: []string{"a", "", "c"}, Counts: map[string]int64{"x": -1, "": math.MaxInt64},
			Address: avroAddress{"Allee", ptr(int32(-2))}, Earlier: []avroAddress{{"one", nil}, {"two", ptr(int32(2))}},
			Hash: [4]byte{0, 1, 2, 255}, Blob: []byte{255, 0}, Small: math.MinInt32, Big: math.MinInt64, Half: .5, Tenth: .1, On: true,
			Price: price, Rate: big.NewRat(10001, 10000), Day: time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC),
			OfDay: 24*time.Hour - time.Millisecond, ExactOf: time.Hour + 2*time.Minute + 3*time.Second + 4*time.Microsecond,
			StampMS: at.Truncate(time.Millisecond), StampUS: at, LocalUS: time.Date(2026, 3, 29, 2, 30, 0, 1000, time.UTC),
			ID:     [16]byte{0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0},
			Period: avro.Duration{Months: 1, Days: 31, Milliseconds: 86399999},
		},
		{
			Region: "EU", Tags: []string{}, Counts: map[string]int64{}, Earlier: []avroAddress{}, Blob: []byte{}, Tenth: -1e300,
			Price: new(big.Rat), Rate: big.NewRat(-1, 10000), Day: epoch.AddDate(0, 0, -1),
			StampMS: epoch.Add(-time.Millisecond), StampUS: epoch.Add(-time.Microsecond), LocalUS: epoch, Period: avro.Duration{Milliseconds: math.MaxUint32},
		},
		nil,
		{
			Region: "US", Note: ptr(""), Choice: "", Tags: []string{"x"}, Counts: map[string]int64{"n": 0}, Address: avroAddress{"s", ptr(int32(0))}, Earlier: []avroAddress{},
			Hash: [4]byte{255, 255, 255, 255}, Blob: []byte{0}, Small: 1, Big: 1, Half: -2.25, Tenth: 2.5, On: true,
			Price: big.NewRat(128, 100), Rate: big.NewRat(128, 100), Day: epoch, OfDay: time.Millisecond, ExactOf: time.Microsecond,
			StampMS: epoch, StampUS: epoch, LocalUS: epoch, Period: avro.Duration{Months: 12},
			ID: [16]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
		},
	}
}

type avroPlace struct {
	Name   string `avro:"name" json:"name"`
	Height int32  `avro:"height" json:"height"`
}

type avroTrip struct {
	From  avroPlace   `avro:"from" json:"from"`
	To    *avroPlace  `avro:"to" json:"to"`
	Stops []avroPlace `avro:"stops" json:"stops"`
}

type avroVisit1 struct {
	Page    string `avro:"page" json:"page"`
	Seconds int32  `avro:"seconds" json:"seconds"`
	Device  string `avro:"device" json:"device"`
}

type avroVisit2 struct {
	Referrer *string  `avro:"referrer" json:"referrer"`
	Page     string   `avro:"page" json:"page"`
	Score    float64  `avro:"score" json:"score"`
	Labels   []string `avro:"labels" json:"labels"`
	Device   string   `avro:"device" json:"device"`
}

type avroGauge1 struct {
	Count int32   `avro:"count"`
	Share float32 `avro:"share"`
	Total int64   `avro:"total"`
	Unit  string  `avro:"unit"`
	Limit int32   `avro:"limit"`
}

type avroGauge2 struct {
	Count     int64   `avro:"count" json:"count"`
	Share     float64 `avro:"share" json:"share"`
	Total     float64 `avro:"total" json:"total"`
	Dimension string  `avro:"dimension" json:"dimension"`
	Limit     *int64  `avro:"limit" json:"limit"`
}

func avroOf[T any](reg *registry.Client, file string, opts ...serde.Option) serde.Serde[*T] {
	return serde.Nullable(serde.Avro[T](reg, append(opts, serde.Schema(schema(file)))...))
}

// readsAny reads a value without a type, and writes it so, before it is read as ever.
func readsAny(reg *registry.Client, next reader) reader {
	in, out := serde.AvroAny(reg), serde.AvroAny(reg, serde.UseLatest())
	return func(ctx context.Context, topic string, r record) (document, error) {
		if r.value != nil {
			at := pipeline.Slot{Topic: topic}
			v, err := in.Decode(ctx, at, r.value)
			if err == nil {
				r.value, err = out.Append(ctx, []byte{}, at, v)
			}
			if err != nil {
				return document{}, err
			}
		}
		return next(ctx, topic, r)
	}
}

func avroTopics(reg *registry.Client) []topic {
	keys, values := avroOf[avroKey](reg, "key.avsc"), avroOf[everything](reg, "everything.avsc")
	all := topic{name: "avro", read: map[string]reader{"": reads(keys, itself, values, (*everything).document)}}
	for i, key := range []*avroKey{{"EU", 1 << 62}, {"", -1}, {"EU", 3}, nil} {
		all.write = append(all.write, writes(keys, key, values, everythings()[i]))
	}

	all.read["any"] = readsAny(reg, all.read[""])

	none := serde.Nullable(serde.Bytes())
	trips := avroOf[avroTrip](reg, "trip.avsc", serde.References(registry.Reference{Name: "leat.interop.Place", Subject: "leat.interop.Place", Text: schema("place.avsc")}))
	ulm := avroPlace{"Ulm", 478}
	references := topic{name: "avro-references", read: map[string]reader{"": reads(none, itself, trips, itself)}, write: []writer{
		writes(none, nil, trips, &avroTrip{ulm, &avroPlace{"Zermatt", 1620}, []avroPlace{{"Basel", 244}}}),
		writes(none, nil, trips, &avroTrip{From: ulm, Stops: []avroPlace{}}),
	}}

	one, two := avroOf[avroVisit1](reg, "visit1.avsc"), avroOf[avroVisit2](reg, "visit2.avsc")
	evolved := topic{name: "avro-evolved", write: []writer{
		writes(none, nil, one, &avroVisit1{"home", 7, "PHONE"}),
		writes(none, nil, two, &avroVisit2{ptr("mail"), "cart", 1.5, []string{}, "WATCH"}),
	}, read: map[string]reader{"1": reads(none, itself, one, itself), "2": reads(none, itself, two, itself)}}

	promoted := topic{name: "avro-promoted", write: []writer{
		writes(none, nil, avroOf[avroGauge1](reg, "gauge1.avsc"), &avroGauge1{-7, .25, 1 << 53, "m", math.MaxInt32}),
	}, read: map[string]reader{"": reads(none, itself, avroOf[avroGauge2](reg, "gauge2.avsc"), itself)}}
	return []topic{all, references, evolved, promoted}
}
