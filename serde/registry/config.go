package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultTimeout     = 10 * time.Second
	DefaultMaxCached   = 1000
	DefaultNegativeTTL = 10 * time.Second
)

// NoNegativeCache as Config.NegativeTTL asks the registry again for every record
// with an unknown id.
const NoNegativeCache time.Duration = -1

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
	// Timeout bounds one request to one node. Default 10 s.
	Timeout time.Duration
	// HTTPClient carries the requests: set it for TLS settings or a proxy. It is
	// copied; its Timeout is replaced by the one above, or kept if that is 0 and
	// it has one. Default: a client over http.DefaultTransport.
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
	if client.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	client.Transport = bounded{client.Transport}
	c.HTTPClient = &client
	if c.MaxCached == 0 {
		c.MaxCached = DefaultMaxCached
	}
	if c.NegativeTTL == 0 {
		c.NegativeTTL = DefaultNegativeTTL
	}
	return c
}
