package api

import (
	"bytes"
	"cmp"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
)

type docOperation struct {
	Method, Path, ID, Summary, Tag string
	Description                    []string
	Parameters                     []*huma.Param
	Body                           []string
	Answers                        []docAnswer
}

type docAnswer struct{ Status, What string }

type docPage struct {
	Title, Version, Description string
	Tags                        []string
	Operations                  map[string][]docOperation
	Grants                      []auth.Grant
}

// docs is a readable page of /openapi.json. It is made here and needs no script.
func (a *api) docs(w http.ResponseWriter, _ *http.Request) {
	spec := a.huma.OpenAPI()
	page := docPage{Title: spec.Info.Title, Version: spec.Info.Version, Description: spec.Info.Description, Operations: map[string][]docOperation{}, Grants: auth.Permissions()}
	for path, item := range spec.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "PUT": item.Put, "POST": item.Post, "DELETE": item.Delete} {
			if op == nil || len(op.Tags) == 0 {
				continue
			}
			tag := op.Tags[0]
			if _, ok := page.Operations[tag]; !ok {
				page.Tags = append(page.Tags, tag)
			}
			page.Operations[tag] = append(page.Operations[tag], describe(method, path, op))
		}
	}
	slices.Sort(page.Tags)
	for _, ops := range page.Operations {
		slices.SortFunc(ops, func(x, y docOperation) int {
			return cmp.Or(strings.Compare(x.Path, y.Path), strings.Compare(x.Method, y.Method))
		})
	}
	t, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		a.problem(err).Write(w)
		return
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		a.problem(err).Write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(b.Bytes())
}

func describe(method, path string, op *huma.Operation) docOperation {
	d := docOperation{Method: method, Path: path, ID: op.OperationID, Summary: op.Summary, Parameters: op.Parameters}
	if op.Description != "" {
		d.Description = strings.Split(op.Description, "\n\n")
	}
	if op.RequestBody != nil {
		for media := range op.RequestBody.Content {
			d.Body = append(d.Body, media)
		}
		slices.Sort(d.Body)
	}
	for status, r := range op.Responses {
		d.Answers = append(d.Answers, docAnswer{status, r.Description})
	}
	slices.SortFunc(d.Answers, func(x, y docAnswer) int { return strings.Compare(x.Status, y.Status) })
	return d
}

const docsTemplate = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Title}} API</title>
<style>
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--accent:#3b82f6}
body{font:15px/1.55 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0;padding:.5rem .8rem}
summary{cursor:pointer;display:flex;gap:.8rem;flex-wrap:wrap;align-items:baseline}
code{font:13px/1.5 ui-monospace,monospace;background:var(--soft);padding:.1em .35em;border-radius:.3em}
.m{font-weight:700;min-width:4.5em;color:var(--accent)}
table{border-collapse:collapse;width:100%;font-size:14px}td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
nav a{margin-right:1rem}
</style></head><body>
<h1>{{.Title}} API <small>{{.Version}}</small></h1><p>{{.Description}}</p>
<p>The same for programs: <a href="/openapi.json">/openapi.json</a>. Send an API key with each request: <code>Authorization: Bearer ps_…</code>. Errors are <code>application/problem+json</code> (RFC 9457).</p>
<nav>{{range .Tags}}<a href="#{{.}}">{{.}}</a>{{end}}<a href="#permissions">Permissions</a></nav>
{{range $tag := .Tags}}<h2 id="{{$tag}}">{{$tag}}</h2>
{{range index $.Operations $tag}}<details id="{{.ID}}"><summary><span class="m">{{.Method}}</span><code>{{.Path}}</code><span>{{.Summary}}</span></summary>
{{range .Description}}<p>{{.}}</p>{{end}}
{{if .Parameters}}<table><tr><th>parameter</th><th>in</th><th></th></tr>{{range .Parameters}}<tr><td><code>{{.Name}}</code></td><td>{{.In}}</td><td>{{.Description}}</td></tr>{{end}}</table>{{end}}
{{if .Body}}<p>Body: {{range .Body}}<code>{{.}}</code> {{end}}</p>{{end}}
<table><tr><th>answer</th><th></th></tr>{{range .Answers}}<tr><td><code>{{.Status}}</code></td><td>{{.What}}</td></tr>{{end}}</table></details>
{{end}}{{end}}
<h2 id="permissions">Permissions</h2><table><tr><th>permission</th><th>allows to</th><th>roles</th></tr>
{{range .Grants}}<tr><td><code>{{.Permission}}</code></td><td>{{.Description}}</td><td>{{range .Roles}}{{.}} {{end}}{{if .Operator}}operator of the installation{{end}}</td></tr>{{end}}</table>
</body></html>
`
