package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// messageSize compares max.message.bytes, which bounds a batch as it is sent, with the
// producer's batches and records before compression: what does not compress must fit,
// too.
func (e *exam) messageSize(topic string) {
	value, ok := e.setting(CheckMessageSize, topic, "max.message.bytes")
	if !ok {
		return
	}
	most, err := strconv.Atoi(value)
	if err != nil {
		e.find(CheckMessageSize, topic, NotVisible, "", "max.message.bytes is %q, which is not a number", value)
		return
	}
	var larger []string
	if e.producer.BatchSize > most {
		larger = append(larger, fmt.Sprintf("BatchSize is %d: full batches that do not compress are refused and sent again in parts", e.producer.BatchSize))
	}
	if e.producer.MaxRequestSize > most {
		larger = append(larger, fmt.Sprintf("MaxRequestSize is %d: records between the two are taken and then refused", e.producer.MaxRequestSize))
	}
	if len(larger) == 0 {
		e.ok(CheckMessageSize, topic, "max.message.bytes=%d holds a batch of %d and a record of %d", most, e.producer.BatchSize, e.producer.MaxRequestSize)
		return
	}
	// Kafka's own default leaves room for a record of 1 MiB.
	const room = 12
	fits := max(e.producer.BatchSize, e.producer.MaxRequestSize) + room
	e.find(CheckMessageSize, topic, Fault, e.setTopic(topic, fmt.Sprintf("max.message.bytes=%d", fits))+", or lower the producer's",
		"max.message.bytes=%d, but %s", most, strings.Join(larger, "; "))
}
