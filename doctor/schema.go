package doctor

import (
	"context"
	"fmt"
	"strings"
)

// schemas asks the registry what it demands of the next schema of each output topic.
func (e *exam) schemas(ctx context.Context) {
	if e.Registry == nil {
		return
	}
	if err := e.Registry.Ping(ctx); err != nil {
		e.find(CheckSchema, "", Fault, "start the registry, or correct its address; if it answers 401 or 403, the credentials", "%s", line(err))
		return
	}
	for _, topic := range e.Outputs {
		subject := topic + "-value"
		level, err := e.Registry.Compatibility(ctx, subject)
		switch {
		case err != nil:
			e.find(CheckSchema, subject, NotVisible, "", "%s", line(err))
		case level == "NONE":
			e.find(CheckSchema, subject, Fault, fmt.Sprintf(`PUT {"compatibility":"BACKWARD"} to /config/%s of the registry, or to /config for all subjects`, subject),
				"its compatibility level is NONE: a schema that breaks every reader is taken")
		default:
			e.compatible(ctx, topic, subject, level)
		}
	}
}

func (e *exam) compatible(ctx context.Context, topic, subject, level string) {
	schema, given := e.Schemas[topic]
	if !given {
		e.ok(CheckSchema, subject, "compatibility level %s", level)
		return
	}
	ok, why, err := e.Registry.Compatible(ctx, subject, schema)
	switch {
	case err != nil:
		e.find(CheckSchema, subject, Fault, "correct the schema", "the registry does not take the schema: %s", line(err))
	case !ok:
		because := ""
		if len(why) > 0 { // not every registry says
			because = ": " + strings.ReplaceAll(strings.Join(why, "; "), "\n", " ")
		}
		e.find(CheckSchema, subject, Fault, "change the schema so that it is "+level+" compatible, or write to another topic",
			"the schema is not compatible with the latest version%s", because)
	default:
		e.ok(CheckSchema, subject, "compatibility level %s, and the schema is compatible", level)
	}
}
