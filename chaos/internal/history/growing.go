package history

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// growing has a client notice within seconds that a topic got more partitions, rather
// than within minutes.
func growing() []kgo.Opt {
	return []kgo.Opt{kgo.MetadataMinAge(time.Second), kgo.MetadataMaxAge(2 * time.Second)}
}
