package main

import (
	"encoding/base64"
	"encoding/json"

	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

type jsonKey struct {
	Region string `json:"region"`
	Number int64  `json:"number"`
}

type jsonPlace struct {
	Name   string `json:"name"`
	Height int    `json:"height"`
}

type jsonTrip struct {
	From   jsonPlace   `json:"from"`
	Stops  []jsonPlace `json:"stops"`
	Driver struct {
		Name    string  `json:"name"`
		Licence *string `json:"licence"`
	} `json:"driver"`
	Counts map[string]int64 `json:"counts"`
	Big    int64            `json:"big"`
	Share  float64          `json:"share"`
	Done   bool             `json:"done"`
	Note   *string          `json:"note,omitempty"`
}

type jsonVisit1 struct {
	Page    string `json:"page"`
	Seconds *int   `json:"seconds,omitempty"`
}

type jsonVisit2 struct {
	Page   string    `json:"page"`
	Score  *float64  `json:"score,omitempty"`
	Labels *[]string `json:"labels,omitempty"`
}

// valueOf makes a value of a document; nil of null.
func valueOf[T any](doc any) *T {
	if doc == nil {
		return nil
	}
	data, err := json.Marshal(doc)
	if err == nil {
		v := new(T)
		if err = json.Unmarshal(data, v); err == nil {
			return v
		}
	}
	panic(err) // what is expected is part of the program
}

// unquoted makes bytes of base64; nil of null.
func unquoted(doc any) *[]byte {
	text, ok := doc.(string)
	if !ok {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err) // as above
	}
	return &data
}

func jsonOf[T any](reg *registry.Client, file string, opts ...serde.Option) serde.Serde[*T] {
	return serde.Nullable(serde.JSONSchema[T](reg, append(opts, serde.Schema(schema(file)))...))
}

func jsonTopics(reg *registry.Client, want documents) []topic {
	place := registry.Reference{Name: "place.json", Subject: "leat.interop.place.json", Text: schema("place.json")}
	keys, values := jsonOf[jsonKey](reg, "key.json"), jsonOf[jsonTrip](reg, "trip.json", serde.References(place))
	all := topic{name: "json", read: map[string]reader{"": reads(keys, itself, values, itself)}}
	for _, d := range want[all.name] {
		all.write = append(all.write, writes(keys, valueOf[jsonKey](d.Key), values, valueOf[jsonTrip](d.Value)))
	}

	none := serde.Nullable(serde.Bytes())
	one, two := jsonOf[jsonVisit1](reg, "visit1.json"), jsonOf[jsonVisit2](reg, "visit2.json")
	// Each version has a subject of its own. An object open to other properties cannot gain one
	// under BACKWARD: it may have been there before, of another type. A closed one cannot be read
	// by those that do not know the new one.
	older := topic{name: "json-older", write: []writer{writes(none, nil, one, valueOf[jsonVisit1](want["json-older/written"][0].Value))}, read: map[string]reader{"": reads(none, itself, two, itself)}}
	newer := topic{name: "json-newer", write: []writer{writes(none, nil, two, valueOf[jsonVisit2](want["json-newer/written"][0].Value))}, read: map[string]reader{"": reads(none, itself, one, itself)}}
	return []topic{all, older, newer}
}
