package console

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// Config configures a [Console]. The zero value works.
type Config struct {
	// Title names the process on the page. Default: the program's name.
	Title string
	// HidePayloads keeps keys, values and headers of dead letters out of the console
	// and of its memory; reasons and origins are shown. Set it where others than those
	// who may read the topics can reach the console. Errors of stages are the
	// program's: they are shown in any case.
	HidePayloads bool
	// Hosts are further names under which the console may be asked for over a loopback
	// connection, without ports, for instance of a reverse proxy on this machine. By
	// default only localhost and loopback addresses are: a page from elsewhere that has
	// its own name resolve to this machine (DNS rebinding) reads nothing. Connections to
	// other addresses may use any name.
	Hosts []string
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var bad []error
	for _, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, "/:*@ ") {
			bad = append(bad, fmt.Errorf("%q in Hosts is not a host's name; give it without scheme, port and path", h))
		}
	}
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: console.Config:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Title = cmp.Or(c.Title, strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"))
	return c
}
