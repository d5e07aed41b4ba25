package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	login "github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
)

// The cluster wants to know who reads, and the password comes from the environment.
func TestCatLogsIn(t *testing.T) {
	fake, err := embedded.Start(embedded.Config{
		Topics: []embedded.Topic{{Name: "t"}}, Options: []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", "reader", "s3cret")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	to := checktest.Dial(t, fake.Brokers(), kgo.SASL(login.Auth{User: "reader", Pass: "s3cret"}.AsMechanism()))
	to.Produce(&kgo.Record{Topic: "t", Value: []byte("v")})
	args := []string{"cat", "--brokers", strings.Join(fake.Brokers(), ","), "--topic", "t", "--sasl", "PLAIN", "--user", "reader", "--allow-without-tls"}
	t.Setenv(passwordVariable, "s3cret")
	o := leatWith(t.Context(), args...)
	o.want(t, 0)
	if got := fmt.Sprint(o.values(t)); got != "[v]" {
		t.Errorf("read %s", got)
	}
	t.Setenv(passwordVariable, "wr0ng")
	o = leatWith(t.Context(), args...)
	o.want(t, 1)
	o.oneLine(t, "leat cat: ")
	if strings.Contains(o.stderr, "wr0ng") {
		t.Errorf("it shows the password: %s", o.stderr)
	}
	t.Log(o.stderr)
}
