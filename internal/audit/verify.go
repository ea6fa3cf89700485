package audit

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Report is what following a chain has found.
type Report struct {
	OK      bool          `json:"ok"`
	Entries int64         `json:"entries"`
	Head    store.Head    `json:"head"`
	Broken  []store.Break `json:"broken"`
}

// Verify follows the chain of t from its first entry to its last. Known is a head that was noted earlier and elsewhere, or zero: the chain must
// lead through it.
func Verify(ctx context.Context, trail store.Trail, t tenant.ID, known store.Head) (Report, error) {
	head, err := trail.Head(ctx, t)
	if err != nil {
		return Report{}, err
	}
	v := store.NewVerifier()
	var extra []store.Break
	found := known.Seq == 0
	err = trail.Walk(ctx, t, store.Span{Upto: head.Seq}, func(e *store.Entry) error { // what is added meanwhile is for the next time
		v.Add(e)
		if e.Seq == known.Seq {
			found = true
			if store.HashOf(e.Text) != known.Hash {
				extra = append(extra, store.Break{Seq: e.Seq, Reason: "it is not the entry with the hash that was noted"})
			}
		}
		return nil
	})
	if err != nil {
		return Report{}, err
	}
	if head.Seq == 0 && v.Last().Seq > 0 { // a chain that has begun meanwhile, or one without a head
		switch now, err := trail.Head(ctx, t); {
		case err != nil:
			return Report{}, err
		case now.Seq > 0:
			return Verify(ctx, trail, t, known)
		}
	}
	v.End(head)
	r := Report{Head: head}
	r.Entries, r.Broken = v.Result()
	if !found {
		extra = append(extra, store.Break{Seq: known.Seq, Reason: "there is no such entry, whose hash was noted"})
	}
	r.Broken = append(r.Broken, extra...)
	r.OK = len(r.Broken) == 0
	return r, nil
}

// Format is how entries are exported.
type Format string

// NDJSON has a line for each entry, which can be verified; CSV is for tables.
const (
	NDJSON Format = "ndjson"
	CSV    Format = "csv"
)

// Export writes a stretch of a chain, entry by entry.
func Export(ctx context.Context, trail store.Trail, t tenant.ID, span store.Span, f Format, w io.Writer) error {
	if f == CSV {
		return exportCSV(ctx, trail, t, span, w)
	}
	return trail.Walk(ctx, t, span, func(e *store.Entry) error {
		_, err := io.WriteString(w, e.Line()+"\n")
		return err
	})
}

func exportCSV(ctx context.Context, trail store.Trail, t tenant.ID, span store.Span, w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	err := out.Write([]string{"seq", "at", "subject", "name", "address", "user_agent", "action", "tenant", "kind", "slug", "request_id", "before", "after", "previous", "hash"})
	err = errors.Join(err, trail.Walk(ctx, t, span, func(e *store.Entry) error {
		return out.Write([]string{
			strconv.FormatInt(e.Seq, 10), e.At.Format(time.RFC3339Nano), cell(e.Actor.Subject), cell(e.Actor.Name), cell(e.Actor.Address), cell(e.Actor.UserAgent), cell(e.Action),
			cell(string(e.Target.Tenant)), cell(string(e.Target.Kind)), cell(e.Target.Slug), cell(e.RequestID), string(e.Before), string(e.After), e.Previous, e.Hash,
		})
	}))
	out.Flush()
	return errors.Join(err, out.Error())
}

// cell is somebody's text: one that programs that show tables take for a formula gets an apostrophe before it, as in reports.
func cell(s string) string {
	if s == "" {
		return s
	}
	switch r, _ := utf8.DecodeRuneInString(s); r {
	case '=', '+', '-', '@', '\t', '\r', '\n', '\'', '＝', '＋', '－', '＠':
		return "'" + s
	}
	return s
}
