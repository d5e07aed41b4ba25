package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/serde/registry"
)

// schemaFile are the flags that say which schema is meant, and for which subject.
type schemaFile struct {
	subject, file, typ string
	references         []registry.Reference
	json               bool
}

var schemaTypes = map[string]registry.Type{"avro": registry.Avro, "json": registry.JSON, "protobuf": registry.Protobuf}

func (f *schemaFile) flags(fs *flag.FlagSet) {
	fs.StringVar(&f.subject, "subject", "", "`name` of the subject, as in orders-value (required)")
	fs.StringVar(&f.file, "file", "", "`file` with the schema, - for the standard input (required)")
	fs.StringVar(&f.typ, "type", "", "avro, json or protobuf (default: as the file's name ends: .avsc, .json, .proto)")
	fs.Func("reference", "`name=subject@version` of a schema that this one refers to, latest as version for the latest; may be repeated, each after those that it refers to itself", func(s string) error {
		name, at, ok := strings.Cut(s, "=")
		subject, text, ok2 := cutLast(at, "@")
		if !ok || !ok2 || name == "" || subject == "" {
			return errors.New("want name=subject@version")
		}
		version, err := parseVersion(text)
		f.references = append(f.references, registry.Reference{Name: name, Subject: subject, Version: version})
		return err
	})
	fs.BoolVar(&f.json, "json", false, "write JSON")
}

// schema reads the file, and asks for the versions of what is referred to as the latest.
func (f *schemaFile) schema(ctx context.Context, command string, reg *registry.Client, stderr io.Writer) (s registry.Schema, err error) {
	switch {
	case f.subject == "":
		return s, usage(stderr, command, "--subject is required")
	case f.file == "":
		return s, usage(stderr, command, "--file is required")
	}
	typ := f.typ
	if typ == "" {
		typ = map[string]string{".avsc": "avro", ".json": "json", ".proto": "protobuf"}[filepath.Ext(f.file)]
	}
	known := false
	if s.Type, known = schemaTypes[typ]; !known {
		if f.typ == "" {
			return s, usage(stderr, command, "--type is required: the name of %q does not tell it", f.file)
		}
		return s, usage(stderr, command, "--type is avro, json or protobuf, not %q", f.typ)
	}
	text, err := readInput(f.file)
	if err != nil {
		return s, err
	}
	s.Text = string(text)
	for _, r := range f.references {
		if r.Version == registry.LatestVersion {
			latest, err := reg.Latest(ctx, r.Subject)
			if err != nil {
				return s, fmt.Errorf("reference %q: %w", r.Name, err)
			}
			r.Version = latest.Version
		}
		s.References = append(s.References, r)
	}
	return s, nil
}

// maxInput bounds what is read of a file, in bytes.
const maxInput = 64 << 20

func readInput(file string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("%s is larger than %d bytes", file, maxInput)
	}
	return data, err
}

func runSchemaCheck(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var reg registryFlags
	var f schemaFile
	fs := flag.NewFlagSet("leat schema check", flag.ContinueOnError)
	f.flags(fs)
	if err := parseSchema(fs, &reg, args, "", stderr); err != nil {
		return err
	}
	s, err := f.schema(ctx, "schema check", reg.client, stderr)
	if err != nil {
		return err
	}
	level, err := reg.client.Compatibility(ctx, f.subject)
	if err != nil {
		return err
	}
	ok, reasons, err := reg.client.Compatible(ctx, f.subject, s)
	if err != nil {
		return err
	}
	if f.json {
		if reasons == nil || ok {
			reasons = []string{}
		}
		err = writeJSON(stdout, struct {
			Subject       string   `json:"subject"`
			Compatibility string   `json:"compatibility"`
			Compatible    bool     `json:"compatible"`
			Reasons       []string `json:"reasons"`
		}{f.subject, level, ok, reasons})
	} else if ok {
		_, err = fmt.Fprintf(stdout, "compatible with %s (%s)\n", f.subject, level)
	} else {
		if len(reasons) == 0 { // as from Apicurio
			reasons = avroReasons(ctx, reg.client, f.subject, level, s)
		}
		for _, r := range reasons {
			fmt.Fprintln(stdout, strings.Join(strings.Fields(r), " "))
		}
	}
	if err == nil && !ok {
		err = fmt.Errorf("incompatible with subject %q, which asks for %s", f.subject, level)
	}
	return err
}

// avroReasons says why by Avro's own rules, where a registry does not.
func avroReasons(ctx context.Context, reg *registry.Client, subject, level string, s registry.Schema) (reasons []string) {
	reasons = []string{"the registry gives no reasons"}
	latest, err := reg.Latest(ctx, subject)
	if err != nil || s.Type != registry.Avro || len(s.References)+len(latest.References) > 0 {
		return reasons
	}
	before, err := avro.Parse(latest.Text)
	if err != nil {
		return reasons
	}
	after, err := avro.Parse(s.Text)
	if err != nil {
		return reasons
	}
	say := func(writer, reader *avro.Schema, what string) {
		if _, err := avro.Resolve(writer, reader); err != nil {
			reasons = append(reasons, fmt.Sprintf("by Avro's rules: %s (version %d): %v", what, latest.Version, err))
		}
	}
	if !strings.HasPrefix(level, "FORWARD") {
		say(before, after, "it cannot read what the latest has written")
	}
	if !strings.HasPrefix(level, "BACKWARD") {
		say(after, before, "the latest cannot read what it writes")
	}
	return reasons
}

func runSchemaRegister(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var reg registryFlags
	var f schemaFile
	fs := flag.NewFlagSet("leat schema register", flag.ContinueOnError)
	f.flags(fs)
	if err := parseSchema(fs, &reg, args, "", stderr); err != nil {
		return err
	}
	s, err := f.schema(ctx, "schema register", reg.client, stderr)
	if err != nil {
		return err
	}
	got, err := reg.client.WithGUID(ctx, f.subject, s, true)
	switch {
	case err != nil:
		return err
	case f.json:
		return writeJSON(stdout, struct {
			Subject string `json:"subject"`
			Version int    `json:"version"`
			ID      int    `json:"id"`
			GUID    string `json:"guid,omitempty"`
		}{f.subject, got.Version, got.ID, got.GUID})
	}
	_, err = fmt.Fprintf(stdout, "subject=%s version=%d id=%d\n", f.subject, got.Version, got.ID)
	return err
}
