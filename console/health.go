package console

import "fmt"

// failed are the runs that have ended with an error and that no other has replaced.
func (c *Console) failed() []string {
	all := []string{}
	for _, x := range c.all() {
		if err := x.failure(); err != nil {
			all = append(all, fmt.Sprintf("%s has ended: %s", x.of.Pipeline.Name(), clipText(err.Error(), maxReason)))
		}
	}
	return all
}

// notReady are the reasons why the process is not ready. A run that has come to its
// end in order is none, as long as there is another.
func (c *Console) notReady() []string {
	var r readiness
	for _, x := range c.all() {
		v := x.now()
		r.add(x.of.Pipeline.Name(), &v)
	}
	return r.reasons()
}

// readiness is that of several runs.
type readiness struct {
	bad   []string
	going int
}

func (r *readiness) add(name string, v *view) {
	switch {
	case v.err != nil:
		r.bad = append(r.bad, name+": ended with an error")
	case !v.ended.IsZero():
	default:
		r.going++
		if why := notReady(&v.Snapshot, v.interval); why != "" {
			r.bad = append(r.bad, name+": "+why)
		}
	}
}

func (r *readiness) reasons() []string {
	if r.going == 0 && len(r.bad) == 0 {
		return []string{"no pipeline runs"}
	}
	return append([]string{}, r.bad...)
}
