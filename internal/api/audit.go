package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// actor is a principal as the audit log has it.
func actor(p auth.Principal, r *http.Request, requestID string) audit.Actor {
	return audit.Actor{Tenant: p.Tenant, Subject: p.Subject, Name: p.Name, Address: address(r), UserAgent: r.UserAgent(), RequestID: requestID}
}

type auditActor struct {
	Subject   string `json:"subject" doc:"key:<id> or member:<id>; operator for somebody who runs the installation; system for the program itself."`
	Name      string `json:"name,omitempty"`
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

type auditTarget struct {
	Tenant tenant.ID `json:"tenant,omitempty" doc:"In the installation's log: the tenant that it was done to."`
	Kind   string    `json:"kind"`
	Slug   string    `json:"slug"`
}

type auditView struct {
	Seq       int64           `json:"seq"`
	At        time.Time       `json:"at"`
	Actor     auditActor      `json:"actor"`
	Action    string          `json:"action" example:"metric.put"`
	Target    auditTarget     `json:"target"`
	Before    json.RawMessage `json:"before" doc:"null: there was none. Secrets are [hidden]."`
	After     json.RawMessage `json:"after" doc:"null: there is none any more. Secrets are [hidden], or [changed] where they are not what they were."`
	RequestID string          `json:"request_id,omitempty"`
	Previous  string          `json:"previous" doc:"Hash of the entry before."`
	Hash      string          `json:"hash" doc:"SHA-256; an export has the bytes that it is of."`
	Wrong     string          `json:"wrong,omitempty" doc:"How the entry is not as it was written."`
}

func viewEntry(e *store.Entry) auditView {
	return auditView{Seq: e.Seq, At: e.At, Actor: auditActor(e.Actor), Action: e.Action, Target: auditTarget{e.Target.Tenant, string(e.Target.Kind), e.Target.Slug},
		Before: e.Before, After: e.After, RequestID: e.RequestID, Previous: e.Previous, Hash: e.Hash, Wrong: e.Wrong}
}

// auditSpan is the part of a request that says which times are meant.
type auditSpan struct {
	From string `query:"from" maxLength:"64" doc:"Inclusive, RFC 3339."`
	To   string `query:"to" maxLength:"64" doc:"Exclusive, RFC 3339."`
}

func (in *auditSpan) times() (from, to time.Time, err error) {
	var errs []web.FieldError
	at := func(name, s string) (t time.Time) {
		if s == "" {
			return t
		}
		t, err := query.ParseTime(s)
		if err != nil {
			errs = append(errs, web.FieldError{Location: "query." + name, Message: err.Error()})
		}
		return t
	}
	if from, to = at("from", in.From), at("to", in.To); len(errs) > 0 {
		return from, to, unprocessable("The times are not right.", errs...)
	}
	return from, to, nil
}

type auditInput struct {
	auditSpan
	Actor  string `query:"actor" maxLength:"512" doc:"A subject, such as key:<id>."`
	Action string `query:"action" maxLength:"128" doc:"Such as metric.put."`
	Target string `query:"target" maxLength:"512" doc:"A kind, such as metric, or a kind and a slug: metric/orders."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before."`
}

type auditVerifyInput struct {
	Seq  int64  `query:"seq" minimum:"1" doc:"Number of an entry whose hash was noted earlier: the chain must lead through it."`
	Hash string `query:"hash" maxLength:"64" doc:"That hash."`
}

type auditReport struct {
	OK      bool          `json:"ok"`
	Entries int64         `json:"entries"`
	Head    store.Head    `json:"head" doc:"The last entry. Whoever keeps it elsewhere can tell later that nothing up to it was rewritten."`
	Broken  []store.Break `json:"broken" doc:"Where the chain is not as it was written."`
}

type auditExportInput struct {
	auditSpan
	Format string `query:"format" enum:"ndjson,csv" default:"ndjson" doc:"ndjson can be verified with pulsestream audit verify; csv is for tables."`
}

// auditRoutes are those of a tenant's log, and of the installation's.
func (a *api) auditRoutes() {
	for _, log := range []struct {
		path, id, what string
		permission     auth.Permission
		of             func(auth.Principal) tenant.ID
	}{
		{"/v1/audit", "audit", "the tenant's audit log", auth.AuditRead, func(p auth.Principal) tenant.ID { return p.Tenant }},
		{"/v1/admin/audit", "installation-audit", "the installation's audit log", auth.TenantsManage, func(auth.Principal) tenant.ID { return store.Installation }},
	} {
		const tag = "Audit"
		register(a, operation{method: http.MethodGet, path: log.path, id: "list-" + log.id, tag: tag, permission: log.permission,
			summary: "Entries of " + log.what + ", newest first"},
			func(ctx context.Context, p auth.Principal, in *auditInput) (*body[list[auditView]], error) {
				return a.listAudit(ctx, log.of(p), in)
			})
		register(a, operation{method: http.MethodGet, path: log.path + "/verify", id: "verify-" + log.id, tag: tag, permission: log.permission,
			summary: "Whether " + log.what + " is whole", description: "Follows the chain from its first entry to its last, and locates what was edited, removed or moved."},
			func(ctx context.Context, p auth.Principal, in *auditVerifyInput) (*body[auditReport], error) {
				if (in.Seq == 0) != (in.Hash == "") {
					return nil, unprocessable("A number without a hash says nothing, nor does a hash without its number.", web.FieldError{Location: "query.seq", Message: "give both, or none"})
				}
				r, err := audit.Verify(ctx, a.Audit.Trail(), log.of(p), store.Head{Seq: in.Seq, Hash: strings.ToLower(in.Hash)})
				if r.Broken == nil {
					r.Broken = []store.Break{}
				}
				return &body[auditReport]{auditReport(r)}, err
			})
		register(a, operation{method: http.MethodGet, path: log.path + "/export", id: "export-" + log.id, tag: tag, permission: log.permission,
			summary: "Export " + log.what, description: "All entries of a stretch of time, oldest first, as they are read. The export is an entry itself."},
			func(ctx context.Context, p auth.Principal, in *auditExportInput) (*huma.StreamResponse, error) {
				return a.exportAudit(ctx, log.of(p), in)
			})
	}
}

func (a *api) listAudit(ctx context.Context, t tenant.ID, in *auditInput) (*body[list[auditView]], error) {
	from, to, err := in.times()
	if err != nil {
		return nil, err
	}
	q := store.EntryQuery{From: from, To: to, Actor: in.Actor, Action: in.Action}
	kind, slug, _ := strings.Cut(in.Target, "/")
	q.Kind, q.Slug = store.Kind(kind), slug
	if in.Cursor != "" {
		if q.Before, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil || q.Before <= 0 || strconv.FormatInt(q.Before, 10) != in.Cursor {
			return nil, unprocessable("The cursor is not right.", web.FieldError{Location: "query.cursor", Message: "pass next_cursor of the page before"})
		}
	}
	entries, err := a.Audit.Trail().Read(ctx, t, q, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := list[auditView]{Data: make([]auditView, 0, len(entries))}
	if len(entries) > in.Limit {
		entries = entries[:in.Limit]
		out.Next = strconv.FormatInt(entries[in.Limit-1].Seq, 10)
	}
	for i := range entries {
		out.Data = append(out.Data, viewEntry(&entries[i]))
	}
	return &body[list[auditView]]{out}, nil
}

// exportAudit streams: an export may be larger than memory.
func (a *api) exportAudit(ctx context.Context, t tenant.ID, in *auditExportInput) (*huma.StreamResponse, error) {
	from, to, err := in.times()
	if err != nil {
		return nil, err
	}
	details := map[string]string{"format": in.Format, "from": in.From, "to": in.To}
	if err := a.Audit.Note(ctx, t, audit.Event{Action: "audit.export", Kind: "audit", Slug: in.Format, Details: details}); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(out huma.Context) {
		out.SetHeader("Cache-Control", "private, no-store")
		out.SetHeader("Content-Disposition", `attachment; filename="audit.`+in.Format+`"`)
		out.SetHeader("Content-Type", map[string]string{"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}[in.Format])
		w := bufio.NewWriterSize(out.BodyWriter(), 64<<10)
		err := audit.Export(ctx, a.Audit.Trail(), t, store.Span{From: from, To: to}, audit.Format(in.Format), w)
		if err = errors.Join(err, w.Flush()); err != nil {
			if ctx.Err() == nil {
				a.Log.Error("an export of the audit log was cut short", "error.message", err.Error())
			}
			panic(http.ErrAbortHandler) // or half of it would look like all of it
		}
	}}, nil
}
