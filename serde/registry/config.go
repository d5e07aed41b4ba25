package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Defaults of Config.
const (
	DefaultTimeout     = 10 * time.Second
	DefaultMaxCached   = 1000
	DefaultNegativeTTL = 10 * time.Second
	DefaultRetries     = 2
)

// NoRetries as Config.Retries asks each node once.
const NoRetries = -1

// NoNegativeCache as Config.NegativeTTL asks the registry again for every record
// with an unknown id.
const NoNegativeCache time.Duration = -1

// maxRedirects is net/http's own bound, which ours takes the place of.
const maxRedirects = 10

// maxAnswer bounds one answer of the registry, in bytes.
const maxAnswer = 16 << 20

// Config says where the registry is and how to reach it. Only URLs is required.
type Config struct {
	// URLs are the base URLs, http or https, of the registry's nodes. The first
	// that answers is asked; when it does not, the next. User name and password
	// may stand in a URL; they are taken out and sent as basic authentication,
	// and never appear in an error.
	URLs []string
	// User and Password are for basic authentication.
	User, Password string
	// Token is a bearer token. It excludes User.
	Token string
	// TokenFunc gives the bearer token for each request, within its context: read it
	// from a file that is replaced, or keep one until it expires. It is called
	// concurrently. Its error is ErrUnauthorized, marked with pipeline.Retriable, and
	// shown: it must not hold the token. It excludes Token and User.
	TokenFunc func(context.Context) (string, error)
	// AllowPlaintextCredentials lets credentials be sent to an http URL, where all
	// between read them. Without it they need https; only a loopback address, or the
	// name localhost, may go without. A redirection from https to http is refused
	// with credentials in any case.
	AllowPlaintextCredentials bool
	// TLS is for https: roots, or a client certificate (mutual TLS). It is cloned. It
	// excludes an HTTPClient with a Transport. Default: Go's defaults.
	TLS *tls.Config
	// Timeout bounds one request to one node. Default 10 s.
	Timeout time.Duration
	// Retries is how often all nodes are asked again when none has answered, within
	// Timeout of the first request: what fails at once is tried again, what takes
	// long is not. A pipeline tries for ever besides. Default 2; NoRetries for none.
	Retries int
	// Backoff is the wait before each of Retries. Default: pipeline.Backoff's.
	Backoff pipeline.Backoff
	// HTTPClient carries the requests, through a proxy for one. It is copied; its
	// Timeout is replaced by the one above, or kept if that is 0 and it has one.
	// Default: a client over http.DefaultTransport.
	HTTPClient *http.Client
	// MaxCached bounds the schemas kept by id, the ids kept by subject, and the
	// ids known to be unknown, each. Default 1,000. Ids never change their
	// meaning, so nothing expires; beyond the bound the oldest is looked up anew.
	MaxCached int
	// NegativeTTL is how long an unknown id is answered without asking, so that
	// a burst of undecodable records does not become a burst of requests.
	// Default 10 s; NoNegativeCache for never.
	NegativeTTL time.Duration
	// NoNormalize registers schemas without normalize=true. Normalized, a schema
	// that differs in order or white space alone is the same schema; some
	// registries give it a new id otherwise.
	NoNormalize bool
}

// String names the URLs, without what is secret in them, and nothing else.
func (c Config) String() string {
	var hosts []string
	for _, s := range c.URLs {
		hosts = append(hosts, redact(s))
	}
	return "registry.Config{" + strings.Join(hosts, ", ") + "}"
}

// GoString is String: %#v must not print a password either.
func (c Config) GoString() string { return c.String() }

// Validate returns every mistake in the configuration, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("registry: "+format, args...)) }
	if len(c.URLs) == 0 {
		bad("URLs: at least one is needed, as in http://127.0.0.1:8081")
	}
	user, password := c.User, c.Password
	for i, s := range c.URLs {
		u, err := url.Parse(s)
		switch {
		case err != nil:
			bad("URLs[%d]: not a URL", i) // err would quote it, password and all
			continue
		case u.Scheme != "http" && u.Scheme != "https":
			bad("URLs[%d]: %s: must begin with http:// or https://", i, redact(s))
		case u.Hostname() == "":
			bad("URLs[%d]: %s: has no host", i, redact(s))
		case u.RawQuery != "" || u.Fragment != "":
			bad("URLs[%d]: %s: must have neither query nor fragment", i, redact(s))
		}
		if u.User == nil {
			continue
		}
		pw, _ := u.User.Password()
		if user == "" {
			user, password = u.User.Username(), pw
		} else if user != u.User.Username() || password != pw {
			bad("URLs[%d]: %s: other credentials than in User or an earlier URL", i, redact(s))
		}
	}
	if c.Password != "" && user == "" {
		bad("Password without User")
	}
	if c.Token != "" && user != "" {
		bad("Token and User: only one of them can be sent")
	}
	if c.TokenFunc != nil && (c.Token != "" || user != "") {
		bad("TokenFunc and Token or User: only one of them can be sent")
	}
	if !c.AllowPlaintextCredentials && (user != "" || c.Token != "" || c.TokenFunc != nil) {
		for i, s := range c.URLs {
			if u, err := url.Parse(s); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
				bad("URLs[%d]: %s: credentials need https, or AllowPlaintextCredentials", i, redact(s))
			}
		}
	}
	if c.TLS != nil && c.HTTPClient != nil && c.HTTPClient.Transport != nil {
		bad("TLS and HTTPClient.Transport: set TLS in the transport")
	}
	if c.Retries < 0 && c.Retries != NoRetries {
		bad("Retries: %d is negative; NoRetries turns them off", c.Retries)
	}
	if c.Backoff.Initial < 0 || c.Backoff.Max < 0 {
		bad("Backoff: %v, %v: is negative", c.Backoff.Initial, c.Backoff.Max)
	}
	if c.Timeout < 0 {
		bad("Timeout: %v is negative", c.Timeout)
	}
	if c.MaxCached < 0 {
		bad("MaxCached: %d is negative", c.MaxCached)
	}
	if c.NegativeTTL < 0 && c.NegativeTTL != NoNegativeCache {
		bad("NegativeTTL: %v is negative; NoNegativeCache turns it off", c.NegativeTTL)
	}
	return errors.Join(errs...)
}

// loopback tells that what is sent to a host does not leave the machine.
func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback() || host == "localhost"
}

// redact returns what of a URL may be shown: scheme, host and path.
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" {
		return "(unreadable URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// withDefaults returns a valid configuration with the defaults filled in and the
// credentials moved from the URLs to the fields.
func (c Config) withDefaults() Config {
	urls := make([]string, len(c.URLs))
	for i, s := range c.URLs {
		u, err := url.Parse(s)
		if err != nil {
			continue // Validate has refused it
		}
		if u.User != nil && c.User == "" {
			c.User = u.User.Username()
			c.Password, _ = u.User.Password()
		}
		urls[i] = redact(s)
	}
	c.URLs = urls
	client := http.Client{}
	if c.HTTPClient != nil {
		client = *c.HTTPClient
	}
	switch {
	case c.Timeout > 0:
		client.Timeout = c.Timeout
	case client.Timeout <= 0:
		client.Timeout = DefaultTimeout
	}
	c.Timeout = client.Timeout
	switch {
	case c.TLS != nil:
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = c.TLS.Clone()
		client.Transport = t
	case client.Transport == nil:
		client.Transport = http.DefaultTransport
	}
	client.Transport = bounded{client.Transport}
	if c.User != "" || c.Token != "" || c.TokenFunc != nil {
		client.CheckRedirect = encrypted(client.CheckRedirect)
	}
	c.HTTPClient = &client
	switch c.Retries {
	case 0:
		c.Retries = DefaultRetries
	case NoRetries:
		c.Retries = 0
	}
	if c.MaxCached == 0 {
		c.MaxCached = DefaultMaxCached
	}
	if c.NegativeTTL == 0 {
		c.NegativeTTL = DefaultNegativeTTL
	}
	return c
}

// encrypted refuses what would send credentials in clear, beside what next refuses.
func encrypted(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return errPlaintext
		}
		if next != nil {
			return next(r, via)
		}
		if len(via) >= maxRedirects {
			return fmt.Errorf("more than %d redirections", maxRedirects)
		}
		return nil
	}
}
