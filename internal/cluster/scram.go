package cluster

import (
	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// scramExchange is sarama's SCRAMClient over a library for the exchange itself.
type scramExchange struct {
	hash scram.HashGeneratorFcn
	conv *scram.ClientConversation
}

func scramClient(mechanism string) func() sarama.SCRAMClient {
	hash := scram.SHA256
	if mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = scram.SHA512
	}
	return func() sarama.SCRAMClient { return &scramExchange{hash: hash} }
}

func (x *scramExchange) Begin(user, password, authzID string) error {
	client, err := x.hash.NewClient(user, password, authzID)
	if err != nil {
		return err
	}
	x.conv = client.NewConversation()
	return nil
}

func (x *scramExchange) Step(challenge string) (string, error) { return x.conv.Step(challenge) }

func (x *scramExchange) Done() bool { return x.conv.Done() }
