package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/leat-stream/leat/serde/registry"
)

// registryFlags are the flags that say how to reach a schema registry. A password is
// never a flag: others on the machine see those.
type registryFlags struct {
	urls, user, ca string
	client         *registry.Client // nil if no address is given
}

// The environment variables with the registry's credentials.
const (
	registryPassword = "LEAT_REGISTRY_PASSWORD"
	registryToken    = "LEAT_REGISTRY_TOKEN"
)

// flags defines the flags.
func (r *registryFlags) flags(fs *flag.FlagSet) {
	fs.StringVar(&r.urls, "registry", "", "`URLs` of the schema registry, comma separated; the environment variable "+registryToken+" may hold a bearer token")
	fs.StringVar(&r.user, "registry-user", "", "`name` for the registry; the password is taken from the environment variable "+registryPassword)
	fs.StringVar(&r.ca, "registry-ca", "", "PEM `file` with the authorities of the registry's certificate (default: the system's)")
}

func (r *registryFlags) given() bool { return r.urls != "" }

// open makes the client, without a request.
func (r *registryFlags) open() error {
	if !r.given() {
		if r.user != "" || r.ca != "" {
			return errors.New("--registry-user and --registry-ca need --registry")
		}
		return nil
	}
	cfg := registry.Config{URLs: strings.Split(r.urls, ","), User: r.user}
	if r.user != "" {
		cfg.Password = os.Getenv(registryPassword)
	} else {
		cfg.Token = os.Getenv(registryToken)
	}
	if r.ca != "" {
		pem, err := os.ReadFile(r.ca)
		if err != nil {
			return fmt.Errorf("--registry-ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--registry-ca: %s holds no certificate in PEM", r.ca)
		}
		cfg.HTTPClient = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}}
	}
	var err error
	r.client, err = registry.New(cfg)
	return err
}
