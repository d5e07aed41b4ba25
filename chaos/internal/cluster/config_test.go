//go:build unix

package cluster

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	t.Setenv("PATH", "")
	err := (&Config{Port: 65530, Disk: -1, Isolated: true}).Validate()
	for _, want := range []string{"Libs", "Port", "Java", "Disk", "iproute2", "Isolated: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
	if _, err := Start(t.Context(), Config{}); err == nil {
		t.Error("started without jars")
	}
}

func TestIsolatedProperties(t *testing.T) {
	c := Config{Port: 24000, Isolated: true}
	got := c.properties(2, "/data")
	for _, want := range []string{
		"advertised.listeners=CLIENT://127.0.0.1:24005,DIRECT://10.77.0.2:24007,INTERNAL://10.77.0.2:24008\n",
		"controller.quorum.voters=1@10.77.0.1:24004,2@10.77.0.2:24009,3@10.77.0.3:24014\n",
		"allow.everyone.if.no.acl.found=true\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("without %q:\n%s", want, got)
		}
	}
}

func TestProperties(t *testing.T) {
	c := Config{Port: 24000, Properties: map[string]string{"min.insync.replicas": "1", "log.retention.ms": "1"}}
	got := c.properties(2, "/data")
	for _, want := range []string{
		"node.id=2\n",
		"advertised.listeners=CLIENT://127.0.0.1:24005,DIRECT://127.0.0.1:24007,INTERNAL://127.0.0.1:24008\n",
		"listeners=CLIENT://127.0.0.1:24006,DIRECT://127.0.0.1:24007,INTERNAL://127.0.0.1:24008,CONTROLLER://127.0.0.1:24009\n",
		"controller.quorum.voters=1@127.0.0.1:24004,2@127.0.0.1:24009,3@127.0.0.1:24014\n",
		"\nmin.insync.replicas=1\n",
		"log.retention.ms=1\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("without %q:\n%s", want, got)
		}
	}
}
