package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/sinks/kafka"
)

// A secret is not printed, wherever it stands.
func ExampleSecret() {
	cfg := kafka.Config{
		Brokers: []string{"kafka:9093"},
		SASL:    kafka.SASL{Mechanism: "SCRAM-SHA-512", User: "orders", Password: kafka.SecretOf("hunter2")},
	}
	fmt.Printf("%+v\n", cfg.SASL)
	fmt.Println(cfg.SASL.Password)

	text, err := cfg.SASL.Password.Reveal(context.Background()) // for a client that is not Leat's
	fmt.Println(len(text), err)
	// Output:
	// {Mechanism:SCRAM-SHA-512 User:orders Password:[secret] Token:<nil> AllowWithoutTLS:false}
	// [secret]
	// 7 <nil>
}

// A password that is replaced in its file serves from the next connection on.
func ExampleSecretFile() {
	cfg := kafka.Config{Brokers: []string{"kafka:9093"}}
	cfg.SASL = kafka.SASL{Mechanism: "SCRAM-SHA-512", User: "orders", Password: kafka.SecretFile("/var/run/secrets/kafka/password")}
	fmt.Println(cfg.Validate()) // reads nothing
	// Output: <nil>
}

// An environment variable is read when the first connection is made.
func ExampleSecretEnv() {
	password := kafka.SecretEnv("ORDERS_KAFKA_PASSWORD")
	_, err := password.Reveal(context.Background())
	fmt.Println(err)
	// Output: environment variable ORDERS_KAFKA_PASSWORD: it is not set, or empty
}

// A function gets a secret from elsewhere.
func ExampleSecretFunc() {
	password := kafka.SecretFunc(func(ctx context.Context) (string, error) {
		return "from the vault", ctx.Err()
	})
	fmt.Println(password)
	// Output: [secret]
}

// PLAIN and OAUTHBEARER are refused on connections that anybody can read.
func ExampleSASL() {
	s := kafka.ProducerSettings{
		Brokers: []string{"kafka:9092"},
		SASL:    kafka.SASL{Mechanism: "PLAIN", User: "orders", Password: kafka.SecretEnv("PASSWORD")},
	}
	fmt.Println(s.Validate())
	// Output:
	// invalid configuration: kafka.ProducerSettings:
	// SASL: PLAIN without TLS shows the credentials to whoever listens; set TLS, use SCRAM, or set SASL.AllowWithoutTLS
}

// The usual TLS, with a client certificate. Mistakes are found at once.
func ExampleTLSFiles() {
	_, err := kafka.TLSFiles("", "orders.crt", "")
	fmt.Println(err)
	// Output: TLS: a client certificate needs its key, and the key its certificate
}

// A token source keeps a token until shortly before it expires.
func ExampleTokenFunc() {
	var token kafka.Token
	var until time.Time
	turn := make(chan struct{}, 1) // it is asked on several goroutines
	source := kafka.TokenFunc(func(ctx context.Context) (kafka.Token, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return kafka.Token{}, ctx.Err()
		}
		if time.Until(until) < time.Minute {
			token, until = kafka.Token{Value: kafka.SecretOf("eyJhbGciOi…")}, time.Now().Add(time.Hour) // ask the identity provider here
		}
		return token, nil
	})
	got, err := source.Token(context.Background())
	fmt.Println(got.Value, err)
	// Output: [secret] <nil>
}

// A token that somebody else keeps fresh in a file.
func ExampleTokenOf() {
	sasl := kafka.SASL{Mechanism: "OAUTHBEARER", Token: kafka.TokenOf(kafka.SecretFile("/var/run/secrets/kafka/token"))}
	cfg := kafka.Config{Brokers: []string{"kafka:9093"}, SASL: sasl}
	fmt.Println(cfg.Validate() != nil) // there is no TLS
	// Output: true
}

// What a user may not do is an error that says what to grant.
func ExampleAuthorizationError() {
	reader := kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "orders", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true}
	writer := kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "other", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationWrite, Allow: true}
	cluster, err := embedded.Start(embedded.Config{
		Topics:  []embedded.Topic{{Name: "orders"}},
		Options: []kfake.Opt{kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("SCRAM-SHA-512", "app", "secret", reader, writer)},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	ctx := context.Background()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: cluster.Brokers(), SASL: kafka.SASL{Mechanism: "SCRAM-SHA-512", User: "app", Password: kafka.SecretOf("secret")}, Logger: silent,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	_, err = p.SendSync(ctx, kafka.Record{Topic: "orders", Value: []byte("o-1")})
	if denied, ok := errors.AsType[*kafka.AuthorizationError](err); ok {
		fmt.Printf("grant %s on %s %s\n", denied.Operation, denied.ResourceType, denied.Resource)
	}
	// Output: grant WRITE on topic orders
}

// What is wrong with a connection is an error that says what to change.
func ExampleAuthenticationError() {
	cluster, err := embedded.Start(embedded.Config{Options: []kfake.Opt{kfake.EnableSASL()}})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	_, err = kafka.NewProducer(context.Background(), kafka.ProducerSettings{Brokers: cluster.Brokers()})
	if refused, ok := errors.AsType[*kafka.AuthenticationError](err); ok {
		fmt.Println(refused.Problem)
	}
	// Output: its listener wants SASL; set SASL with one of its mechanisms, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
}
