package record

import "testing"

func TestIDKnowsWhatMakeMade(t *testing.T) {
	for _, id := range []uint64{0, 1, 4095, 4096, 1<<40 + 7, 1<<64 - 1} {
		key, value := Make(id)
		if len(key) != KeySize || len(value) != ValueSize {
			t.Fatalf("record %d has %d and %d bytes", id, len(key), len(value))
		}
		if got, ok := ID(key, value); !ok || got != id {
			t.Errorf("ID of record %d is %d, %t", id, got, ok)
		}
	}
}

func TestIDRefusesEveryChange(t *testing.T) {
	key, value := Make(12345)
	for i := range key {
		changed := append([]byte(nil), key...)
		changed[i] ^= 1
		if _, ok := ID(changed, value); ok {
			t.Errorf("key byte %d may change", i)
		}
	}
	for i := range value {
		changed := append([]byte(nil), value...)
		changed[i] ^= 1
		if _, ok := ID(key, changed); ok {
			t.Errorf("value byte %d may change", i)
		}
	}
	if _, ok := ID(key[1:], value); ok {
		t.Error("a shorter key is accepted")
	}
	if _, ok := ID(key, value[1:]); ok {
		t.Error("a shorter value is accepted")
	}
}

// The text must fill its part: what it leaves free would be zeros.
func TestTextFillsItsPart(t *testing.T) {
	if len(text) != textSize {
		t.Errorf("the text has %d bytes, not %d", len(text), textSize)
	}
}
