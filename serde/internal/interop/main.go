// Command interop is Leat's side of scripts/test-interop: it writes what Confluent's Python
// client reads, and reads what that wrote. Interop.py beside it is the other side.
//
//	interop write  BROKERS REGISTRY RUN
//	interop verify BROKERS REGISTRY RUN
//
// Everything read is made a document, and compared field by field with testdata/expected.json.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/leat-stream/leat/serde/registry"
)

// patience bounds a whole run of either command.
const patience = 60 * time.Second

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: interop write|verify BROKERS REGISTRY RUN")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, os.Args[1], strings.Split(os.Args[2], ","), os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command string, brokers []string, url, id string) error {
	reg, err := registry.New(registry.Config{URLs: []string{url}})
	if err != nil {
		return err
	}
	want, err := expected()
	if err != nil {
		return err
	}
	switch command {
	case "write":
		return write(ctx, brokers, reg, id, want)
	case "verify":
		return verify(ctx, brokers, reg, id, want)
	}
	return fmt.Errorf("no command %q", command)
}

// write sends the records of every topic, and creates the topics of both sides.
func write(ctx context.Context, brokers []string, reg *registry.Client, id string, want documents) error {
	k, err := dial(ctx, brokers)
	if err != nil {
		return err
	}
	defer k.close()
	written := 0
	for _, t := range topics(reg, want) {
		name := "interop-" + id + "-" + t.name
		if err := k.create(ctx, name+"-leat", name+"-python"); err != nil {
			return err
		}
		for i, w := range t.write {
			key, value, err := w(ctx, name+"-leat")
			if err == nil {
				err = k.send(ctx, name+"-leat", key, value)
			}
			if err != nil {
				return fmt.Errorf("%s, record %d: %w", t.name, i, err)
			}
			written++
		}
	}
	fmt.Printf("Leat wrote %d records\n", written)
	return nil
}

// verify reads what the other side has written.
func verify(ctx context.Context, brokers []string, reg *registry.Client, id string, want documents) error {
	k, err := dial(ctx, brokers)
	if err != nil {
		return err
	}
	defer k.close()
	read, wrong := 0, 0
	for _, t := range topics(reg, want) {
		name := "interop-" + id + "-" + t.name + "-python"
		records, err := k.read(ctx, name)
		if err != nil {
			return err
		}
		for reader, decode := range t.read {
			docs, ok := want[t.expects(reader)]
			if !ok || len(records) != len(docs) {
				return fmt.Errorf("%s: %d records, want %d (%s)", name, len(records), len(docs), t.expects(reader))
			}
			for i, r := range records {
				got, err := decode(ctx, name, r)
				if err != nil {
					return fmt.Errorf("%s, record %d, reader %q: %w", name, i, reader, err)
				}
				for _, difference := range differences(got, docs[i]) {
					fmt.Fprintf(os.Stderr, "%s, record %d, reader %q: %s\n", name, i, reader, difference)
					wrong++
				}
				read++
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d fields differ", wrong)
	}
	fmt.Printf("Leat read %d records of the Python client, each field as expected\n", read)
	return nil
}
