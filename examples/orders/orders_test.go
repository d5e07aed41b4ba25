package main

import (
	"errors"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		amount   int64
		currency string
		want     error
	}{
		{1, "EUR", nil},
		{0, "EUR", errAmount},
		{-1, "EUR", errAmount},
		{1, "", errCurrency},
		{1, "eur", errCurrency},
		{1, "EURO", errCurrency},
		{1, "E1R", errCurrency},
		{1, "Ä1", errCurrency},
	} {
		if err := (Order{AmountCents: test.amount, Currency: test.currency}).Validate(); !errors.Is(err, test.want) {
			t.Errorf("%d %q: %v, want %v", test.amount, test.currency, err, test.want)
		}
	}
}

func TestStableReason(t *testing.T) {
	for in, want := range map[string]string{
		"decode avro (schema id 17): malformed: Order.currency: short": "decode avro: malformed",
		"decode avro (schema id 2147483647): unknown schema id":        "decode avro: unknown schema id",
		"amount_cents is not positive":                                 "amount_cents is not positive",
		"":                                                             "",
	} {
		if got := stableReason(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 123456: "123,456"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
