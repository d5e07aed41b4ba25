// Command write writes the certificates of a secured test cluster into a directory: an
// authority (ca.crt), the broker's for 127.0.0.1 (broker.pem), one for a client
// (client.crt, client.key), and one of an authority that the cluster does not know
// (stranger.crt, stranger.key, stranger-ca.crt).
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leat-stream/leat/internal/checktest/pki"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: write DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "write:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	ca, err := pki.New("test authority")
	if err != nil {
		return err
	}
	unknown, err := pki.New("another authority")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.crt"), ca.PEM(), 0o644),
		os.WriteFile(filepath.Join(dir, "stranger-ca.crt"), unknown.PEM(), 0o644),
		issue(ca, dir, "broker", "127.0.0.1"), issue(ca, dir, "client"), issue(unknown, dir, "stranger"),
	)
}

func issue(by *pki.Authority, dir, name string, hosts ...string) error {
	c, err := by.Issue(pki.Subject{Name: name, Hosts: hosts})
	if err != nil {
		return err
	}
	return c.Write(dir, name)
}
