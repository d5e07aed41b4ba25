package main

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
)

// This file is the application: it does not know what runs it, and is the same before and
// after.

// settle takes a payment, "customer;cents;text", says how large it is, and passes it on.
func settle(msg *message.Message) ([]*message.Message, error) {
	_, rest, _ := bytes.Cut(msg.Payload, []byte(";"))
	amount, _, ok := bytes.Cut(rest, []byte(";"))
	if !ok {
		return nil, fmt.Errorf("payment %s has no amount", msg.UUID)
	}
	cents, err := strconv.Atoi(string(amount))
	if err != nil {
		return nil, fmt.Errorf("payment %s: its amount is no number", msg.UUID)
	}
	msg.Metadata.Set("size", size(cents))
	return []*message.Message{msg}, nil
}

func size(cents int) string {
	if cents >= 100_00 {
		return "large"
	}
	return "small"
}

// around goes around every handler.
var around = []message.HandlerMiddleware{middleware.Recoverer, middleware.CorrelationID}

// customer is what messages are partitioned by.
func customer(_ string, msg *message.Message) (string, error) {
	name, _, _ := bytes.Cut(msg.Payload, []byte(";"))
	return string(name), nil
}
