//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/bench/rig"
	"github.com/pulsestream/pulsestream/client"
)

const (
	reportPart   = "report"
	reportedName = "events of a report"
	reportLimit  = 10 * time.Minute
	reportPoll   = 10 * time.Millisecond
)

// reports stores a day of events of one tenant, and orders all of them as a Parquet file.
func (r *run) reports(ctx context.Context) error {
	one := *r
	one.Tenants = 1
	st, err := one.open(ctx, reportPart, usual())
	if err != nil {
		return err
	}
	r.n = one.n
	return errors.Join(one.reportsIn(ctx, st), st.close())
}

func (r *run) reportsIn(ctx context.Context, st *site) error {
	p, err := load.NewPool(r.shape(1000, 8), st.doors())
	if err != nil {
		return err
	}
	r.say("Storing %s events", digits(float64(r.Events)))
	profile := st.profile
	st.profile = "" // it is to be of a report
	w, err := st.load(ctx, reportPart, p, load.Plan{Events: r.Events, History: history})
	if err != nil {
		return err
	}
	st.profile = profile
	for range r.Runs {
		if err := r.reportOf(ctx, st, w.Events); err != nil {
			return err
		}
		st.profile = "" // of the first
	}
	if profile == "" {
		return nil
	}
	_, err = st.Stop() // one that is killed does not finish its profile
	return err
}

// reportOf orders a report of n events and waits for it.
func (r *run) reportOf(ctx context.Context, st *site, n int) error {
	st.ResetPeak()
	before, err := st.CPU()
	busy, err2 := rig.Busy()
	if err := errors.Join(err, err2, st.record()); err != nil {
		return err
	}
	own, start := ownCPU(), time.Now()
	rep, err := st.tenants[0].OrderReport(ctx, client.ReportOrder{Kind: "events", Format: "parquet"})
	if err != nil {
		return fmt.Errorf("order a report: %w", err)
	}
	err = poll(ctx, reportLimit, reportPoll, "a report is written", func() (bool, error) {
		var err error
		rep, err = st.tenants[0].Report(ctx, rep.ID)
		return err == nil && rep.State != "queued" && rep.State != "running", err
	})
	if err != nil || rep.State != "done" {
		return errors.Join(err, fmt.Errorf("the report is %s: %s", rep.State, rep.Reason))
	}
	took := time.Since(start)
	end, err := st.CPU()
	peak, err2 := st.Peak()
	all, err3 := rig.Busy()
	if err := errors.Join(err, err2, err3, st.record()); err != nil {
		return err
	}
	if rep.Rows != int64(n) {
		return fmt.Errorf("a report of %d events has %d", n, rep.Rows)
	}
	others := max(0, (all-busy-(end-before)-(ownCPU()-own)).Seconds()/took.Seconds())
	rate, cpu := float64(n)/took.Seconds(), micros(end-before, float64(n))
	r.say("A report of %s events: %.0f events/s, %.2f µs CPU an event, %.1f B an event, %.0f MB; others used %.1f cores", digits(float64(n)), rate, cpu,
		float64(rep.Bytes)/float64(n), float64(peak)/1e6, others)
	r.report.note(reportPart, reportedName, "events/s", rate)
	r.report.note(reportPart, cpuName, "µs", cpu)
	r.report.note(reportPart, "file an event", "B", float64(rep.Bytes)/float64(n))
	r.report.note(reportPart, peakName, "MB", float64(peak)/1e6)
	r.report.note(reportPart, "cores used by other processes", "", others)
	return nil
}
