package proxy

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Match selects requests. All of it must hold; the zero value matches every request.
//
// Of several rules that match a request the one added first strikes it, alone. Requests
// that a rule skips, or that come after its count, go on to the next.
type Match struct {
	// APIKeys are the kinds. Empty: all.
	APIKeys []kmsg.Key
	// Brokers are those the request is for, by node id. Empty: all.
	Brokers []int32
	// ClientID is the client.id, ClientIDPrefix what it begins with. Empty: any.
	ClientID, ClientIDPrefix string
	// Where, if not nil, is asked last. It runs on the connection's goroutine, on several
	// at once, and must not block nor keep the request.
	Where func(*Request) bool
	// SkipFirst lets so many matching requests pass. After them Count are struck. 0: all.
	SkipFirst, Count int
}

// TransactionalID is a Where for requests in the name of one transactional.id.
func TransactionalID(id string) func(*Request) bool {
	return func(r *Request) bool { return r.TransactionalID() == id }
}

// covers tells whether a request matches, leaving aside how many are wanted.
func (m *Match) covers(r *Request) bool {
	return (len(m.APIKeys) == 0 || slices.Contains(m.APIKeys, r.APIKey)) &&
		(len(m.Brokers) == 0 || slices.Contains(m.Brokers, r.Broker)) &&
		(m.ClientID == "" || m.ClientID == r.ClientID) &&
		strings.HasPrefix(r.ClientID, m.ClientIDPrefix) &&
		(m.Where == nil || m.Where(r))
}
