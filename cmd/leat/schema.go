package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/leat-stream/leat/serde/registry"
)

// schemaCommands are the subcommands of leat schema.
var schemaCommands = []command{
	{"list", "the subjects with their latest schemas", runSchemaList},
	{"show", "a schema, by subject, version or id", runSchemaShow},
	{"check", "whether a schema may follow those of a subject", runSchemaCheck},
	{"register", "register a schema under a subject", runSchemaRegister},
	{"derive", "draft a schema from examples in JSON", runSchemaDerive},
}

func runSchema(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return runSubcommand(ctx, "leat schema", schemaCommands, args, stdout, stderr)
}

// parseSchema parses a subcommand's flags. The first line of takes is what it takes
// besides, one argument or nothing; the rest is for the help. It opens the registry if
// there are flags for one, which are required then.
func parseSchema(fs *flag.FlagSet, reg *registryFlags, args []string, takes string, stderr io.Writer) error {
	name := strings.TrimPrefix(fs.Name(), "leat ")
	takes, note, _ := strings.Cut(takes, "\n")
	fs.SetOutput(io.Discard)
	if reg != nil {
		reg.flags(fs)
	}
	operands, err := parseAnywhere(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stderr)
		fmt.Fprintln(stderr, strings.TrimSpace("usage: "+fs.Name()+" [flags] "+takes)+"\n"+note)
		fs.PrintDefaults()
		return errUsage
	case err != nil:
		return usage(stderr, name, "%v", err)
	case takes == "" && len(operands) > 0:
		return usage(stderr, name, "unexpected argument %q", operands[0])
	case takes != "" && len(operands) != 1:
		return usage(stderr, name, "want one %s, not %d arguments", takes, len(operands))
	case reg == nil:
		return nil
	case !reg.given():
		return usage(stderr, name, "--registry is required")
	}
	if err := reg.open(); err != nil {
		return usage(stderr, name, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// parseAnywhere lets flags stand after operands, too; fs.Args are the operands then.
func parseAnywhere(fs *flag.FlagSet, args []string) (operands []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if fs.NArg() == 0 {
			return operands, fs.Parse(append([]string{"--"}, operands...))
		}
		operands = append(operands, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// subjectLine is what is listed of a subject.
type subjectLine struct {
	Subject       string        `json:"subject"`
	Versions      []int         `json:"versions"`
	Type          registry.Type `json:"type"`
	ID            int           `json:"id"`
	Compatibility string        `json:"compatibility"`
}

func runSchemaList(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var reg registryFlags
	fs := flag.NewFlagSet("leat schema list", flag.ContinueOnError)
	prefix := fs.String("subject-prefix", "", "list only subjects that begin with `text`")
	asJSON := fs.Bool("json", false, "write JSON")
	if err := parseSchema(fs, &reg, args, "", stderr); err != nil {
		return err
	}
	names, err := reg.client.Subjects(ctx)
	if err != nil {
		return err
	}
	slices.Sort(names)
	lines := []subjectLine{}
	for _, name := range names {
		if !strings.HasPrefix(name, *prefix) {
			continue
		}
		l, err := describeSubject(ctx, reg.client, name)
		if errors.Is(err, registry.ErrNotFound) { // deleted meanwhile
			continue
		}
		if err != nil {
			return err
		}
		lines = append(lines, l)
	}
	if *asJSON {
		return writeJSON(stdout, lines)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SUBJECT\tTYPE\tVERSIONS\tID\tCOMPATIBILITY")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", l.Subject, l.Type, ranges(l.Versions), l.ID, l.Compatibility)
	}
	return w.Flush()
}

func describeSubject(ctx context.Context, reg *registry.Client, name string) (l subjectLine, err error) {
	l.Subject = name
	if l.Versions, err = reg.Versions(ctx, name); err != nil {
		return l, err
	}
	slices.Sort(l.Versions)
	latest, err := reg.Latest(ctx, name)
	if err != nil {
		return l, err
	}
	l.Type, l.ID = latest.Type, latest.ID
	l.Compatibility, err = reg.Compatibility(ctx, name)
	return l, err
}

// ranges shows sorted numbers as in 1-3,5.
func ranges(ns []int) string {
	var out []string
	for i := 0; i < len(ns); i++ {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		if i == j {
			out = append(out, strconv.Itoa(ns[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", ns[i], ns[j]))
		}
		i = j
	}
	return strings.Join(out, ",")
}

// parseVersion reads the VERSION of SUBJECT@VERSION.
func parseVersion(s string) (int, error) {
	if s == "latest" {
		return registry.LatestVersion, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is neither a version nor latest", s)
	}
	return n, nil
}
