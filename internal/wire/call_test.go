package wire

import (
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func versions(code int16) []byte {
	res := kmsg.NewPtrApiVersionsResponse()
	res.SetVersion(apiVersionsVersion)
	res.ErrorCode = code
	for key := range int16(3) {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = key, 9
		res.ApiKeys = append(res.ApiKeys, k)
	}
	s := kmsg.NewApiVersionsResponseSupportedFeature()
	s.Name, s.MaxVersion = "transaction.version", 7
	res.SupportedFeatures = append(res.SupportedFeatures, s)
	res.FinalizedFeaturesEpoch = 4
	for i, name := range []string{"metadata.version", "transaction.version"} {
		f := kmsg.NewApiVersionsResponseFinalizedFeature()
		f.Name, f.MaxVersionLevel, f.MinVersionLevel = name, int16(29-27*i), 1
		res.FinalizedFeatures = append(res.FinalizedFeatures, f)
	}
	return res.AppendTo(nil)
}

func TestFeatureOfAnAnswer(t *testing.T) {
	for name, want := range map[string]Feature{TransactionVersion: {2, 7}, "metadata.version": {29, 0}, "other": {}} {
		d := &answer{p: versions(0)}
		if got, err := d.feature(name); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	d := &answer{p: versions(int16(sarama.ErrUnsupportedVersion))}
	if got, err := d.feature("transaction.version"); got != (Feature{}) || err != nil {
		t.Errorf("an old broker: %v, %v", got, err)
	}
	all := versions(0)
	for n := range all {
		d := &answer{p: all[:n]}
		if _, err := d.feature("transaction.version"); err == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(all))
		}
	}
}

func FuzzFeature(f *testing.F) {
	f.Add(versions(0))
	f.Fuzz(func(_ *testing.T, p []byte) {
		d := &answer{p: p}
		_, _ = d.feature("transaction.version")
	})
}
