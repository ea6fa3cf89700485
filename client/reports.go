package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// ReportOrder asks for a file. Kind is events or metric, Format csv or parquet. Zero times do not restrict.
type ReportOrder struct {
	Kind   string      `json:"kind"`
	Format string      `json:"format"`
	From   time.Time   `json:"from,omitzero"`
	To     time.Time   `json:"to,omitzero"`
	Query  ReportQuery `json:"query,omitzero"`
}

// ReportQuery selects what is in a report: events by the first three fields, or points of a metric by the others.
type ReportQuery struct {
	Type    []string            `json:"type,omitempty"` // any of these; each may end in *
	Source  string              `json:"source,omitempty"`
	Subject string              `json:"subject,omitempty"`
	Metric  string              `json:"metric,omitempty"`
	Agg     string              `json:"agg,omitempty"`
	Step    string              `json:"step,omitempty"`
	GroupBy []string            `json:"group_by,omitempty"`
	Where   map[string][]string `json:"where,omitempty"`
	Limit   int                 `json:"limit,omitempty"`
}

// Report is an order and how far it is.
type Report struct {
	ID           string     `json:"id"`
	Kind         string     `json:"kind"`
	Format       string     `json:"format"`
	State        string     `json:"state"` // queued, running, done or failed
	Progress     float64    `json:"progress"`
	Rows         int64      `json:"rows"`
	Bytes        int64      `json:"bytes"`
	Reason       string     `json:"reason"` // of a failure
	Incomplete   bool       `json:"incomplete"`
	URL          string     `json:"url"` // of the file, good without credentials until URLExpiresAt
	URLExpiresAt *time.Time `json:"url_expires_at"`
	CreatedAt    time.Time  `json:"created_at"`
	FinishedAt   *time.Time `json:"finished_at"`
	ExpiresAt    *time.Time `json:"expires_at"`
}

// OrderReport orders a report.
func (c *Client) OrderReport(ctx context.Context, o ReportOrder) (Report, error) {
	var r Report
	err := c.Do(ctx, http.MethodPost, "/v1/reports", nil, o, &r)
	return r, err
}

// Report says how far a report is.
func (c *Client) Report(ctx context.Context, id string) (Report, error) {
	var r Report
	err := c.Do(ctx, http.MethodGet, "/v1/reports/"+segment(id), nil, nil, &r)
	return r, err
}

// Reports lists the reports, newest first.
func (c *Client) Reports(ctx context.Context) ([]Report, error) {
	return getList[Report](ctx, c, "/v1/reports")
}

// ErrReportFailed is wrapped by what WaitForReport returns for a report that failed.
var ErrReportFailed = errors.New("the report failed")

// reportPoll is how often WaitForReport asks.
const reportPoll = 200 * time.Millisecond

// WaitForReport returns a report when it is done or has failed.
func (c *Client) WaitForReport(ctx context.Context, id string) (Report, error) {
	tick := time.NewTicker(reportPoll)
	defer tick.Stop()
	for {
		r, err := c.Report(ctx, id)
		switch {
		case err != nil:
			return r, err
		case r.State == "done":
			return r, nil
		case r.State == "failed":
			return r, fmt.Errorf("%w: %s", ErrReportFailed, r.Reason)
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-tick.C:
		}
	}
}

// DownloadReport copies the file of a report that is done to w. It takes as long as it takes: bound it with ctx.
func (c *Client) DownloadReport(ctx context.Context, r Report, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return err
	}
	if err := c.copyTo(w, req); err != nil {
		return fmt.Errorf("download the report: %w", err)
	}
	return nil
}

// copyTo copies the answer of a request to w, however long that takes.
func (c *Client) copyTo(w io.Writer, req *http.Request) error {
	unhurried := *c.http
	unhurried.Timeout = 0
	resp, err := unhurried.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return problemOf(resp.StatusCode, resp.Header, text)
	}
	_, err = io.Copy(w, resp.Body)
	return err
}
