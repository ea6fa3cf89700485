package email

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"

	"github.com/pulsestream/pulsestream/internal/notify"
)

const maxSubject = 200 // characters

// view is what the templates show.
type view struct {
	Headline    string
	Color       string
	Summary     string
	Explanation string
	Rows        []row
	URL         string
	Channel     string
}

type row struct{ Name, Value string }

const textBody = `{{.Headline}}
{{if .Summary}}
{{.Summary}}
{{end}}{{if .Explanation}}
{{.Explanation}}
{{end}}
{{range .Rows}}{{.Name}}: {{.Value}}
{{end}}{{if .URL}}
{{.URL}}
{{end}}
-- 
Sent by PulseStream by way of the channel {{.Channel}}.
`

const htmlBody = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"></head>
<body style="margin:0;padding:16px;font:15px/1.5 system-ui,sans-serif;color:#1c2024;background:#fff">
<div style="max-width:600px;border-left:4px solid {{.Color}};padding:4px 16px">
<h1 style="font-size:18px;margin:0 0 8px">{{.Headline}}</h1>
{{if .Summary}}<p style="margin:0 0 8px"><strong>{{.Summary}}</strong></p>{{end}}
{{if .Explanation}}<p style="margin:0 0 8px">{{.Explanation}}</p>{{end}}
<table style="border-collapse:collapse;margin:8px 0">
{{range .Rows}}<tr><th style="text-align:left;padding:2px 16px 2px 0;font-weight:normal;color:#60646c;vertical-align:top">{{.Name}}</th><td style="padding:2px 0">{{.Value}}</td></tr>
{{end}}</table>
{{if .URL}}<p style="margin:12px 0"><a href="{{.URL}}">Open the incident</a></p>{{end}}
</div>
<p style="font-size:12px;color:#60646c;margin:12px 0 0">Sent by PulseStream by way of the channel {{.Channel}}.</p>
</body></html>
`

// compose makes the mail of a message.
func (t *Type) compose(m notify.Message, from *netmail.Address, to []*netmail.Address) (*mail.Msg, error) {
	v := viewOf(m)
	var text, html bytes.Buffer
	if err := t.text.Execute(&text, v); err != nil {
		return nil, fmt.Errorf("text part: %w", err)
	}
	if err := t.html.Execute(&html, v); err != nil {
		return nil, fmt.Errorf("HTML part: %w", err)
	}
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(to...)
	msg.Subject(subject(m))
	msg.SetDateWithValue(t.now())
	domain := messageDomain(from.Address)
	msg.SetMessageIDWithValue(m.ID + "@" + domain)
	if m.Type != notify.TypeTest {
		// Both mails of an incident refer to the same id, though no mail has it: so they stand in one thread.
		thread := notify.JobID(m.Transition.Tenant, m.Transition.Incident, "thread")
		msg.SetGenHeader(mail.HeaderReferences, "<"+thread+"@"+domain+">")
	}
	// By RFC 3834: so that no out-of-office reply comes back.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	if important(m) {
		msg.SetImportance(mail.ImportanceHigh)
	}
	msg.SetBodyString(mail.TypeTextPlain, text.String())
	msg.AddAlternativeString(mail.TypeTextHTML, html.String())
	return msg, nil
}

func important(m notify.Message) bool {
	return m.Type == notify.TypeFiring && m.Transition.Severity == "critical"
}

func stateWord(m notify.Message) string {
	switch m.Type {
	case notify.TypeFiring:
		return "FIRING"
	case notify.TypeResolved:
		return "RESOLVED"
	}
	return "TEST"
}

// subject is, for example, "[FIRING] critical: Stripe charges fail (country=US)".
func subject(m notify.Message) string {
	t := m.Transition
	name := t.RuleName
	if name == "" {
		name = t.Rule
	}
	s := "[" + stateWord(m) + "] "
	if m.Type == notify.TypeTest {
		return oneLine(s + t.Summary)
	}
	if t.Severity != "" {
		s += t.Severity + ": "
	}
	s += name
	if len(t.Labels) > 0 {
		s += " (" + labels(t.Labels) + ")"
	}
	return oneLine(s)
}

func labels(l map[string]string) string {
	parts := make([]string, 0, len(l))
	for _, k := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, k+"="+l[k])
	}
	return strings.Join(parts, ", ")
}

// oneLine makes a header's text: no control characters, which could begin another header, and not longer than is sensible.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "�"), func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\u2028' || r == '\u2029'
	}), " ")
	if r := []rune(s); len(r) > maxSubject {
		s = string(r[:maxSubject-1]) + "…"
	}
	return s
}

func viewOf(m notify.Message) view {
	t := m.Transition
	v := view{Headline: subject(m), Summary: t.Summary, Explanation: t.Explanation, URL: m.URL, Channel: m.Channel.Slug, Color: color(m)}
	add := func(name, value string) {
		if value != "" {
			v.Rows = append(v.Rows, row{name, value})
		}
	}
	add("Rule", t.RuleName)
	add("Metric", t.Metric)
	add("Value", number(t.Value))
	add("Threshold", number(t.Threshold))
	add("Severity", t.Severity)
	for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
		add(k, t.Labels[k])
	}
	add("Started", moment(t.StartedAt))
	if m.Type == notify.TypeResolved {
		add("Resolved", moment(t.At))
		if d := t.At.Sub(t.StartedAt); !t.StartedAt.IsZero() && d >= 0 {
			add("Lasted", d.Round(time.Second).String())
		}
	}
	return v
}

func color(m notify.Message) string {
	switch {
	case m.Type == notify.TypeResolved:
		return "#30a46c"
	case m.Type == notify.TypeTest:
		return "#0090ff"
	case m.Transition.Severity == "critical":
		return "#e5484d"
	}
	return "#f5a623"
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// messageDomain is the domain of an address, if it can stand in a Message-ID.
func messageDomain(address string) string {
	d := address[strings.LastIndexByte(address, '@')+1:]
	if d != "" && len(d) <= 253 && hostname.MatchString(d) {
		return d
	}
	return "pulsestream.invalid"
}
