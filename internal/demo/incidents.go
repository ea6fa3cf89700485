package demo

import (
	"context"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// follow tells of incidents as the live connection does, until ctx ends.
func (d *Demo) follow(ctx context.Context) {
	known := map[string]string{} // state by incident
	for ctx.Err() == nil {
		if err := d.listen(ctx, known); err != nil && ctx.Err() == nil {
			d.out.line(bad, "The live connection broke off, and is opened again: %v", err)
		}
		pause(ctx, time.Second)
	}
}

func (d *Demo) listen(ctx context.Context, known map[string]string) error {
	conn, err := d.cfg.Client.Live(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Subscribe(ctx, client.Subscription{ID: "demo", Topic: "incidents"}); err != nil {
		return err
	}
	for {
		f, err := conn.Next(ctx)
		if err != nil {
			return err
		}
		for i := range f.Incidents {
			in := &f.Incidents[i]
			if known[in.ID] != in.State {
				known[in.ID] = in.State
				d.tellIncident(in)
			}
		}
	}
}

func (d *Demo) tellIncident(in *client.Incident) {
	switch in.State {
	case "firing":
		after := ""
		if o, ok := d.cfg.Script.At(in.StartedAt); ok && o.rule == in.Rule {
			after = " " + about(in.StartedAt.Sub(o.From)) + " after it began"
		}
		d.out.line(alarm, "The rule %s fired%s: %s.", in.Rule, after, strings.TrimSuffix(in.Explanation, "."))
	case "resolved":
		lasted := ""
		if in.ResolvedAt != nil {
			lasted = " after " + about(in.ResolvedAt.Sub(in.StartedAt))
		}
		d.out.line(good, "The incident of the rule %s resolved%s.", in.Rule, lasted)
	}
}
