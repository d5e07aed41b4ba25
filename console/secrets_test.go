package console_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// planted is what must not be seen anywhere.
const planted = "planted-s3cret"

// spy is an interceptor that has a secret of its own.
type spy struct{ Token string }

func (*spy) OnSend(*kafka.Outgoing) error { return errors.New(planted) }

func (*spy) OnAcknowledgement(kafka.Result, error) {}

// plantedKey is a private key that would show the secret if it were printed.
type plantedKey struct {
	crypto.Signer
	Note string
}

// full is a configuration in which everything is set, with the secret wherever one may be.
func full(t *testing.T) kafka.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{Certificate: [][]byte{[]byte(planted)}, PrivateKey: plantedKey{key, planted}}
	return kafka.Config{
		Brokers: []string{"127.0.0.1:1"}, ClientID: "client", AllowInsecureTLS: true,
		TLS: &tls.Config{
			Certificates: []tls.Certificate{pair}, RootCAs: x509.NewCertPool(), InsecureSkipVerify: true,
			KeyLogWriter:         io.Discard,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
		},
		SASL: kafka.SASL{
			Mechanism: "PLAIN", User: "user", Password: kafka.SecretOf(planted), AllowWithoutTLS: true,
			Token: kafka.TokenFunc(func(context.Context) (kafka.Token, error) {
				return kafka.Token{Value: kafka.SecretOf(planted), Extensions: map[string]string{"planted": planted}}, nil
			}),
		},
		Delivery: pipeline.AtLeastOnce, Group: "group", Instance: "instance", Application: "application",
		CommitInterval: 200 * time.Millisecond, CommitRecords: 7, CommitBytes: 8,
		Start: kafka.Latest, ResetOutOfRange: true, Assignment: kafka.RoundRobin,
		SessionTimeout: 10 * time.Second, HeartbeatInterval: 2 * time.Second, RebalanceTimeout: 33 * time.Second,
		FetchMaxBytes: 4444, LeaveGroup: true, UntilEnd: true, Interceptors: []kafka.Interceptor{&spy{planted}},
		Producer: kafka.ProducerConfig{
			Idempotence: kafka.IdempotenceOn, MaxInFlight: 4, Compression: kafka.Zstd, CompressionLevel: 9,
			Linger: 3 * time.Millisecond, LingerMax: 6 * time.Millisecond, BatchSize: 5555, BufferMemory: 9_999_999, MaxBlock: 77 * time.Second,
			MaxRequestSize: 6666, RequestTimeout: 5 * time.Second, DeliveryTimeout: 55 * time.Second, MetadataMaxAge: 66 * time.Second,
			RetryBackoff: 11 * time.Millisecond, RetryBackoffMax: 22 * time.Millisecond, TransactionTimeout: 44 * time.Second,
		},
		StopTimeout: time.Second, Stats: new(pipeline.Stats), Logger: slog.New(slog.DiscardHandler),
		OnAssigned: func(pipeline.Partition) {}, OnRevoked: func(pipeline.Partition) {},
	}
}

// settingsOf runs a pipeline with cfg, which reaches no broker, and returns what the
// console has of it.
func settingsOf(t *testing.T, cfg kafka.Config) (settings map[string]string, shown string) {
	t.Helper()
	live := newConsole(t, console.Config{})
	cfg.Observers = []pipeline.Observer{live}
	p := pipeline.New("p", pipeline.DeadLetter("dlq"))
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	if err := kafka.Run(t.Context(), p, cfg); err == nil {
		t.Fatal("a broker answers at 127.0.0.1:1")
	}
	var fixed struct {
		Settings []struct{ Of, Name, Value string }
	}
	unmarshal(t, only(t, live).Fixed, &fixed)
	settings = map[string]string{}
	for _, s := range fixed.Settings {
		settings[s.Of+" "+s.Name] = s.Value
	}
	for _, path := range []string{"/", "/state.json", "/healthz", "/readyz", "/metrics"} {
		w := get(live, path)
		shown += w.Body.String()
		for name, values := range w.Header() {
			shown += name + strings.Join(values, "")
		}
	}
	return settings, shown
}

// With a secret wherever one can be, none is shown, in no encoding.
func TestSecretsAreNotShown(t *testing.T) {
	cfg := full(t)
	requireAllSet(t, reflect.ValueOf(cfg), "Config", "Observers", "Producer.Acks")
	settings, shown := settingsOf(t, cfg)
	for _, form := range []string{planted, hex.EncodeToString([]byte(planted)), base64.StdEncoding.EncodeToString([]byte(planted))[:16], planted[:10]} {
		if i := strings.Index(shown, form); i >= 0 {
			t.Errorf("it shows %q: …%s…", form, shown[max(0, i-80):min(len(shown), i+80)])
		}
	}
	for name, want := range map[string]string{
		"source SASL.Password": "[secret]", "sink SASL.Password": "[secret]", "source SASL.Token": "[secret]", "sink SASL.User": "user",
		"sink TLS":          "TLS 1.2 or later, does not verify the broker against authorities of its own, has a client certificate",
		"sink Interceptors": "*console_test.spy", "source Group": "group", "source Start": "latest", "source Assignment": "roundrobin",
		"run CommitInterval": "200ms", "run Delivery": "at-least-once", "sink Producer.Compression": "zstd", "sink Producer.MaxBlock": "1m17s",
	} {
		if settings[name] != want {
			t.Errorf("%s is shown as %q, want %q", name, settings[name], want)
		}
	}
}

// requireAllSet makes whoever adds a field to the configuration think of this test.
func requireAllSet(t *testing.T, v reflect.Value, name string, but ...string) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Type().Field(i).Name
		path := strings.TrimPrefix(name+"."+field, "Config.")
		allowed := false
		for _, b := range but {
			allowed = allowed || b == path
		}
		switch f := v.Field(i); {
		case f.IsZero() && !allowed:
			t.Errorf("%s is not set: plant the secret there, or say why it can hold none", path)
		case f.Kind() == reflect.Struct && f.Type().PkgPath() != "" && field != "Start" && field != "Password":
			requireAllSet(t, f, name+"."+field, but...)
		}
	}
}

// Every field of the configuration is shown, by its name and with its default.
func TestEverySettingIsShown(t *testing.T) {
	settings, _ := settingsOf(t, kafka.Config{Brokers: []string{"127.0.0.1:1"}, Logger: slog.New(slog.DiscardHandler)})
	names := map[string]bool{}
	for name := range settings {
		_, name, _ = strings.Cut(name, " ")
		names[name] = true
	}
	for _, of := range []struct {
		prefix string
		typ    reflect.Type
	}{{"", reflect.TypeFor[kafka.Config]()}, {"SASL.", reflect.TypeFor[kafka.SASL]()}, {"Producer.", reflect.TypeFor[kafka.ProducerConfig]()}} {
		for i := range of.typ.NumField() {
			switch name := of.prefix + of.typ.Field(i).Name; name {
			case "SASL", "Producer": // by their fields
			case "Stats", "Observers", "Logger", "OnAssigned", "OnRevoked": // the program's own
			default:
				if !names[name] {
					t.Errorf("%s is not among the settings", name)
				}
			}
		}
	}
	for name, want := range map[string]string{
		"source Group": "p", "source Start": "earliest", "source Assignment": "cooperative-sticky", "source SessionTimeout": "45s", "source TLS": "none",
		"sink TransactionalID": "leat-p-[random]-0", "sink Producer.Linger": "5ms", "sink Producer.Compression": "lz4", "sink Producer.Acks": "all",
		"sink Producer.MaxBlock": "2m0s", "sink Producer.TransactionTimeout": "15s", "sink SASL.Password": "", "run StopTimeout": "10s",
	} {
		if got, ok := settings[name]; got != want || !ok {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
