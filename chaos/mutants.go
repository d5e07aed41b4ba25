//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/leat-stream/leat/chaos/internal/mutant"
	"github.com/leat-stream/leat/chaos/internal/scenario"
)

// mutantsCommand plays scenarios with Leat built without one of its safeguards: each
// mutant must be caught.
func mutantsCommand(ctx context.Context, args []string) error {
	var o stageOptions
	fs := flag.NewFlagSet("chaos mutants", flag.ContinueOnError)
	o.register(fs)
	root := fs.String("root", "..", "`directory` of Leat's sources, with this module in chaos")
	only := fs.String("mutant", "", "`names` of those to try, comma separated (default: all)")
	seed := fs.Uint64("seed", 1, "`number` that chooses victims and inputs")
	tries := fs.Uint64("tries", 3, "how many seeds a mutant may survive")
	list := fs.Bool("list", false, "list the mutants and try none")
	if err := fs.Parse(args); err != nil {
		return errors.Join(err, flag.ErrHelp)
	}
	mutants, err := chosenMutants(*only)
	if err != nil {
		return err
	}
	if *list {
		for _, m := range mutants {
			fmt.Printf("%-24s without: %s (%s)\n", m.Name, m.Without, strings.Join(m.Scenarios, ", "))
		}
		return nil
	}
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	var verdicts []verdict
	for _, m := range mutants {
		if ctx.Err() != nil {
			break
		}
		v := s.try(ctx, m, *root, *seed, *tries)
		fmt.Printf("%-24s %s\n", m.Name, v)
		verdicts = append(verdicts, v)
	}
	return errors.Join(append(survivors(verdicts), ctx.Err(), s.close())...)
}

func chosenMutants(names string) ([]mutant.Mutant, error) {
	if names == "" {
		return mutant.All, nil
	}
	var some []mutant.Mutant
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(mutant.All, func(m mutant.Mutant) bool { return m.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no mutant %q; -list shows them: %w", name, flag.ErrHelp)
		}
		some = append(some, mutant.All[i])
	}
	return some, nil
}

// verdict is what became of a mutant.
type verdict struct {
	mutant.Mutant
	by  *scenario.Result // that caught it, or nil
	err error            // why it could not be tried
}

// String says who caught it and by what.
func (v verdict) String() string {
	switch {
	case v.err != nil:
		return "could not be tried: " + v.err.Error()
	case v.by == nil:
		return "SURVIVED " + strings.Join(v.Scenarios, ", ")
	}
	return fmt.Sprintf("caught by %s, seed %d, in %.0f s: %s", v.by.Scenario.Name, v.by.Seed, v.by.Took.Seconds(), v.by.Blame())
}

// try builds a mutant and plays its scenarios until one of them fails because of it.
func (s *stage) try(ctx context.Context, m mutant.Mutant, root string, seed, tries uint64) verdict {
	v := verdict{Mutant: m}
	dir, err := os.MkdirTemp("", "leat-mutant-")
	if err != nil {
		v.err = err
		return v
	}
	defer os.RemoveAll(dir)
	conf := s.Config
	conf.Worker = filepath.Join(dir, "chaos")
	if v.err = m.Build(ctx, root, filepath.Join(root, "chaos"), ".", conf.Worker); v.err != nil {
		return v
	}
	for n := seed; n < seed+tries; n++ {
		for _, name := range m.Scenarios {
			sc, ok := scenario.Find(name)
			if !ok {
				v.err = fmt.Errorf("no scenario %q", name)
				return v
			}
			r := scenario.Play(ctx, conf, sc, n)
			_ = os.RemoveAll(r.Dir) // it is what was expected
			switch {
			case r.Err == nil:
			case r.Blame() != "":
				v.by = &r
				return v
			default:
				v.err = r.Err
				return v
			}
		}
	}
	return v
}

// survivors prints a table and returns an error for each mutant that was not caught.
func survivors(verdicts []verdict) (errs []error) {
	w := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nmutant\twithout\tverdict")
	for _, v := range verdicts {
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Name, v.Without, v)
		if v.by == nil {
			errs = append(errs, fmt.Errorf("%s: %v", v.Name, v))
		}
	}
	w.Flush()
	return errs
}
