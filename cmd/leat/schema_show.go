package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/leat-stream/leat/serde/registry"
)

// shownSchema is a schema as JSON.
type shownSchema struct {
	Subject    string           `json:"subject,omitempty"`
	Version    int              `json:"version,omitempty"`
	ID         int              `json:"id"`
	GUID       string           `json:"guid,omitempty"`
	Type       registry.Type    `json:"type"`
	References []shownReference `json:"references"`
	Schema     string           `json:"schema"`
}

type shownReference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
	Schema  string `json:"schema,omitempty"`
}

func runSchemaShow(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var reg registryFlags
	fs := flag.NewFlagSet("leat schema show", flag.ContinueOnError)
	raw := fs.Bool("raw", false, "print the text alone, as the registry has it")
	asJSON := fs.Bool("json", false, "write JSON, with the texts of the references")
	const takes = "SUBJECT[@VERSION]|ID"
	if err := parseSchema(fs, &reg, args, takes, stderr); err != nil {
		return err
	}
	if *raw && *asJSON {
		return usage(stderr, "schema show", "--raw and --json exclude each other")
	}
	s, err := findSchema(ctx, reg.client, fs.Arg(0))
	if err != nil {
		return err
	}
	switch {
	case *raw:
		_, err = io.WriteString(stdout, s.Text)
	case *asJSON:
		out := shownSchema{Subject: s.Subject, Version: s.Version, ID: s.ID, GUID: s.GUID, Type: s.Type, Schema: s.Text, References: []shownReference{}}
		for _, r := range s.References {
			out.References = append(out.References, shownReference{r.Name, r.Subject, r.Version, r.Text})
		}
		err = writeJSON(stdout, out)
	default:
		err = printSchema(stdout, s)
	}
	return err
}

// findSchema finds what SUBJECT, SUBJECT@VERSION or an id names. A subject whose name is
// a number is named with @latest.
func findSchema(ctx context.Context, reg *registry.Client, name string) (registry.Registered, error) {
	if id, err := strconv.Atoi(name); err == nil {
		s, err := reg.SchemaByID(ctx, id)
		return registry.Registered{ID: id, Schema: s}, err
	}
	subject, text, given := cutLast(name, "@")
	if !given {
		return reg.Latest(ctx, name)
	}
	version, err := parseVersion(text)
	if err != nil {
		return registry.Registered{}, err
	}
	return reg.Version(ctx, subject, version)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func printSchema(stdout io.Writer, s registry.Registered) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	if s.Subject != "" {
		fmt.Fprintf(w, "subject\t%s\nversion\t%d\n", s.Subject, s.Version)
	}
	fmt.Fprintf(w, "id\t%d\n", s.ID)
	if s.GUID != "" {
		fmt.Fprintf(w, "guid\t%s\n", s.GUID)
	}
	fmt.Fprintf(w, "type\t%s\n", s.Type)
	for _, r := range s.References {
		fmt.Fprintf(w, "reference\t%s = %s@%d\n", r.Name, r.Subject, r.Version)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	text := s.Text
	var pretty bytes.Buffer
	if s.Type != registry.Protobuf && json.Indent(&pretty, []byte(text), "", "  ") == nil {
		text = pretty.String()
	}
	_, err := fmt.Fprintf(stdout, "\n%s\n", strings.TrimRight(text, "\n"))
	return err
}
