package murmur2

import "testing"

// TestSum holds the vectors of UtilsTest.testMurmur2 in Kafka's Java client.
func TestSum(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(Sum([]byte(key))); got != want {
			t.Errorf("Sum(%q) = %d, Java has %d", key, got, want)
		}
	}
}
