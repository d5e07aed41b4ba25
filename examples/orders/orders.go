package main

import (
	"errors"
	"time"

	_ "embed" // for the schemas
)

// The schemas are what the topics hold, for programs in any language: the types
// below follow them.
var (
	//go:embed schemas/order.avsc
	orderAvsc string
	//go:embed schemas/customer.avsc
	customerAvsc string
	//go:embed schemas/enriched_order.avsc
	enrichedAvsc string
)

// Status is how far an order has come.
type Status string

// The statuses.
const (
	StatusNew       Status = "NEW"
	StatusPaid      Status = "PAID"
	StatusCancelled Status = "CANCELLED"
)

// Tier is a customer's.
type Tier string

// The tiers.
const (
	TierStandard Tier = "STANDARD"
	TierGold     Tier = "GOLD"
)

// Order is the value of topic orders, whose key is "region:order-id".
type Order struct {
	OrderID     string    `avro:"order_id"`
	CustomerID  string    `avro:"customer_id"`
	Region      string    `avro:"region"`
	AmountCents int64     `avro:"amount_cents"`
	Currency    string    `avro:"currency"`
	Status      Status    `avro:"status"`
	CreatedAt   time.Time `avro:"created_at"`
}

// Customer is the value of topic customers, whose key is the customer's id.
type Customer struct {
	CustomerID string `avro:"customer_id"`
	Name       string `avro:"name"`
	Tier       Tier   `avro:"tier"`
	Country    string `avro:"country"`
}

// EnrichedOrder is the value of topics orders.enriched and orders.review: an order
// with what is known of its customer.
type EnrichedOrder struct {
	Order
	CustomerName string `avro:"customer_name"`
	Tier         Tier   `avro:"tier"`
	Country      string `avro:"country"`
}

// reviewCents is the amount from which somebody looks at an order.
const reviewCents = 1_000_000

// The texts become headers of dead letters and stand in the report, so they say
// what is wrong without quoting the order.
var (
	errAmount   = errors.New("amount_cents is not positive")
	errCurrency = errors.New("currency is not three capital letters")
)

// Validate returns what is wrong with an order.
func (o Order) Validate() error {
	if o.AmountCents <= 0 {
		return errAmount
	}
	if len(o.Currency) != 3 {
		return errCurrency
	}
	for _, c := range []byte(o.Currency) {
		if c < 'A' || c > 'Z' {
			return errCurrency
		}
	}
	return nil
}

// Paid reports whether there is anything to do for an order.
func (o Order) Paid() bool { return o.Status == StatusPaid }

// CustomerKey returns the key of the order's customer in the table.
func (o Order) CustomerKey() string { return o.CustomerID }

// WithCustomer adds the customer to an order.
func (o Order) WithCustomer(c Customer) EnrichedOrder {
	return EnrichedOrder{Order: o, CustomerName: c.Name, Tier: c.Tier, Country: c.Country}
}

// NeedsReview reports whether somebody has to look at an order.
func (o EnrichedOrder) NeedsReview() bool { return o.AmountCents >= reviewCents }
