package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// AuditEntry is one thing that somebody has done.
type AuditEntry struct {
	Seq    int64     `json:"seq"`
	At     time.Time `json:"at"`
	Actor  Actor     `json:"actor"`
	Action string    `json:"action"` // e.g. "metric.put"
	Target struct {
		Tenant string `json:"tenant"` // in the installation's log only
		Kind   string `json:"kind"`
		Slug   string `json:"slug"`
	} `json:"target"`
	Before    json.RawMessage `json:"before"` // null: there was none
	After     json.RawMessage `json:"after"`  // null: there is none any more
	RequestID string          `json:"request_id"`
	Previous  string          `json:"previous"`
	Hash      string          `json:"hash"`
	Wrong     string          `json:"wrong"` // how it is not as it was written
}

// Actor is who has done something, and from where.
type Actor struct {
	Subject   string `json:"subject"`
	Name      string `json:"name"`
	Address   string `json:"address"`
	UserAgent string `json:"user_agent"`
}

// AuditQuery selects entries. Zero fields do not restrict.
type AuditQuery struct {
	From, To time.Time
	Actor    string // a subject
	Action   string
	Target   string // a kind, or a kind and a slug: "metric/orders"
	Limit    int
	Cursor   string
}

func (q *AuditQuery) values() url.Values {
	v := url.Values{}
	for name, t := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	for name, s := range map[string]string{"actor": q.Actor, "action": q.Action, "target": q.Target, "cursor": q.Cursor} {
		if s != "" {
			v.Set(name, s)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// AuditHead is an entry's number and hash: whoever keeps that of the last one can tell later that nothing up to it was rewritten.
type AuditHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// AuditReport is what following the chain has found.
type AuditReport struct {
	OK      bool      `json:"ok"`
	Entries int64     `json:"entries"`
	Head    AuditHead `json:"head"`
	Broken  []struct {
		Seq    int64  `json:"seq"`
		Reason string `json:"reason"`
	} `json:"broken"`
}

// AuditLog reads an audit log: a tenant's own, or the installation's.
type AuditLog struct {
	c    *Client
	path string
}

// Audit is the audit log of the client's tenant.
func (c *Client) Audit() *AuditLog { return &AuditLog{c, "/v1/audit"} }

// InstallationAudit is the audit log of the installation, for its operator.
func (c *Client) InstallationAudit() *AuditLog { return &AuditLog{c, "/v1/admin/audit"} }

// Entries returns a page of entries, newest first, and the cursor of the next one, "" behind the last.
func (l *AuditLog) Entries(ctx context.Context, q AuditQuery) ([]AuditEntry, string, error) {
	var p page[AuditEntry]
	err := l.c.Do(ctx, http.MethodGet, l.path+"?"+q.values().Encode(), nil, nil, &p)
	return p.Data, p.Next, err
}

// Verify has the server follow the chain, through an entry that was noted earlier unless that is zero.
func (l *AuditLog) Verify(ctx context.Context, noted AuditHead) (AuditReport, error) {
	path := l.path + "/verify"
	if noted.Seq > 0 {
		path += "?" + url.Values{"seq": {strconv.FormatInt(noted.Seq, 10)}, "hash": {noted.Hash}}.Encode()
	}
	var r AuditReport
	err := l.c.Do(ctx, http.MethodGet, path, nil, nil, &r)
	return r, err
}

// Export writes entries of a stretch of time, oldest first, as ndjson or csv. Zero times do not restrict. What it has written when it returns an
// error is not all.
func (l *AuditLog) Export(ctx context.Context, w io.Writer, format string, from, to time.Time) error {
	q := AuditQuery{From: from, To: to}
	v := q.values()
	v.Set("format", format)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.c.base+l.path+"/export?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	if l.c.key != "" {
		req.Header.Set("Authorization", "Bearer "+l.c.key)
	}
	return l.c.copyTo(w, req)
}
