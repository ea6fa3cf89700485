package alert

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

const contractRule = `{"slug": "stripe-failures", "name": "Stripe charges fail", "metric": "charges", "agg": "rate", "group_by": ["country"], "where": {"status": "failed"}, "window": "5m",
 "condition": {"type": "threshold", "op": ">", "value": 10, "clear": 8}, "for": "1m", "severity": "critical", "channels": ["ops"], "no_data": "ok", "labels": {}, "summary": "…"}`

func TestRuleOfTheContractIsReadValidAndWrittenAgain(t *testing.T) {
	r, errs := ParseRule([]byte(contractRule))
	if errs == nil {
		errs = r.Validate(true, []string{"country", "status"})
	}
	if errs != nil {
		t.Fatal(errs)
	}
	if r.Agg != series.Rate || r.Where["status"] != "failed" || *r.Condition.Clear != 8 || time.Duration(r.For) != time.Minute || !r.Enabled {
		t.Errorf("%+v", r)
	}
	r.ID, r.Tenant, r.Enabled = 7, "acme", false
	b, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"condition":{"type":"threshold","op":"\u003e","value":10,"clear":8},"for":"1m"`) || !strings.Contains(string(b), `"window":"5m"`) {
		t.Errorf("written as %s", b)
	}
	var stored Rule
	if err := json.Unmarshal(b, &stored); err != nil {
		t.Fatal(err)
	}
	if stored.Labels == nil {
		stored.Labels = r.Labels // an empty object is left out
	}
	if !reflect.DeepEqual(stored, r) {
		t.Errorf("stored as %+v\nwas %+v", stored, r)
	}
	again, errs := ParseRule(b)
	if errs != nil || again.ID != 0 || again.Tenant != "" || again.Enabled {
		t.Errorf("what was read can be sent again, but id and tenant are not the sender's to say: %v %+v", errs, again)
	}
}

func TestDefaults(t *testing.T) {
	r, errs := ParseRule([]byte(`{"slug":"a","metric":"events","condition":{"op":">","value":1}}`))
	if errs != nil || r.Validate(true, nil) != nil {
		t.Fatal(errs, r.Validate(true, nil))
	}
	if r.Agg != series.Count || time.Duration(r.Window) != 5*time.Minute || r.Severity != "warning" || r.NoData != "ok" || !r.Enabled || r.Condition.Type != "threshold" {
		t.Errorf("%+v", r)
	}
	var stored Rule
	if err := json.Unmarshal([]byte(`{"slug":"a"}`), &stored); err != nil || !stored.Enabled {
		t.Error("a stored rule without enabled is enabled", err)
	}
}

func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	const good = `"slug":"a","metric":"charges","condition":{"op":">","value":10}`
	for body, want := range map[string]string{
		`[]`:   ": a rule is a JSON object",
		`null`: ": a rule is a JSON object",
		`{"metric":"charges","condition":{"op":">","value":1}}`:                           "slug: \"\" is not a slug",
		`{"slug":"A b","metric":"charges","condition":{"op":">","value":1}}`:              "slug: \"A b\" is not a slug",
		`{"slug":"a","condition":{"op":">","value":1}}`:                                   "metric: is needed",
		`{"slug":"a","metric":"nope","condition":{"op":">","value":1}}`:                   "metric: there is no metric \"nope\"",
		`{"slug":"a","metric":"charges"}`:                                                 "condition: is needed",
		`{"slug":"a","metric":"charges","condition":">10"}`:                               "condition: must be an object",
		`{"slug":"a","metric":"charges","condition":{"op":">"}}`:                          "condition.value: is needed",
		`{"slug":"a","metric":"charges","condition":{"op":">","value":"10"}}`:             "condition.value: must be a number",
		`{"slug":"a","metric":"charges","condition":{"op":"=>","value":1}}`:               "condition.op: \"=>\" is not one of >",
		`{"slug":"a","metric":"charges","condition":{"op":">","value":1,"claer":1}}`:      "condition.claer: is not a field",
		`{"slug":"a","metric":"charges","condition":{"op":">","value":10,"clear":11}}`:    "condition.clear: must be at most 10",
		`{"slug":"a","metric":"charges","condition":{"op":">=","value":10,"clear":10}}`:   "condition.clear: must be below 10",
		`{"slug":"a","metric":"charges","condition":{"op":"<","value":10,"clear":9}}`:     "condition.clear: must be at least 10",
		`{"slug":"a","metric":"charges","condition":{"op":"<=","value":10,"clear":10}}`:   "condition.clear: must be above 10",
		`{"slug":"a","metric":"charges","condition":{"op":"==","value":10,"clear":10}}`:   "condition.clear: makes no sense",
		`{"slug":"a","metric":"charges","condition":{"type":"anomaly","score":3}}`:        "condition.type: \"anomaly\" is not available yet",
		`{"slug":"a","metric":"charges","condition":{"type":"ratio","op":">","value":1}}`: "condition.type: \"ratio\" is not available yet",
		`{"slug":"a","metric":"charges","condition":{"type":"magic"}}`:                    "condition.type: \"magic\" is not a type",
		`{` + good + `,"window":"5s"}`:                                                    "window: is 5s, but must be from 10s to 24h",
		`{` + good + `,"window":"2d"}`:                                                    "window: is 2d",
		`{` + good + `,"window":"90500ms"}`:                                               "window: is 90500ms, but must be in whole seconds",
		`{` + good + `,"window":"5 minutes"}`:                                             "window: \"5 minutes\" is not a duration",
		`{` + good + `,"window":300}`:                                                     "window: must be text",
		`{` + good + `,"for":"-1s"}`:                                                      "for: is -1s, but must be from 0s",
		`{` + good + `,"agg":"median"}`:                                                   "agg: \"median\" is not an aggregation",
		`{` + good + `,"group_by":["country","planet"]}`:                                  "group_by[1]: the metric charges has no dimension \"planet\": it has country, status",
		`{` + good + `,"group_by":["country","country"]}`:                                 "group_by[1]: \"country\" is named twice",
		`{` + good + `,"group_by":"country"}`:                                             "group_by: must be a list",
		`{` + good + `,"where":{"planet":"x"}}`:                                           "where.planet: the metric charges has no dimension",
		`{` + good + `,"where":{"status":402}}`:                                           "where.status: must be text",
		`{` + good + `,"where":{"status":null}}`:                                          "where.status: must be text",
		`{` + good + `,"severity":"error"}`:                                               "severity: \"error\" is not one of critical, warning, info",
		`{` + good + `,"no_data":"fire"}`:                                                 "no_data: \"fire\" is not one of ok, keep, alert",
		`{` + good + `,"channels":["Ops!"]}`:                                              "channels[0]: \"Ops!\" is not a slug",
		`{` + good + `,"enabled":"yes"}`:                                                  "enabled: must be true or false",
		`{` + good + `,"treshold":5}`:                                                     "treshold: is not a field of a rule",
		`{` + good + `,"summary":"` + strings.Repeat("x", 3000) + `"}`:                    "summary: has at most",
		`{` + good + `,"labels":{"":"x"}}`:                                                "labels.: a label has a name",
	} {
		r, errs := ParseRule([]byte(body))
		if errs == nil {
			errs = r.Validate(r.Metric == "charges", []string{"country", "status"})
		}
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Location+": "+errs[0].Message, want) {
			t.Errorf("%.120s\n got %v\nwant %s", body, errs, want)
		}
	}
}

func TestEveryMistakeIsTold(t *testing.T) {
	r := rule(func(r *Rule) { r.Agg, r.NoData, r.Severity, r.Condition.Value = "x", "x", "x", math.NaN() })
	if errs := r.Validate(true, nil); len(errs) != 4 {
		t.Error(errs)
	}
	_, errs := ParseRule([]byte(`{"slug":1,"window":2,"condition":{"value":"x","op":3}}`))
	if len(errs) != 4 {
		t.Error(errs)
	}
}

func TestSameComputationIsAboutWhatIsLookedAt(t *testing.T) {
	a := rule(nil)
	for name, c := range map[string]struct {
		change func(*Rule)
		want   bool
	}{
		"condition": {func(r *Rule) { r.Condition.Value = 11 }, true},
		"for":       {func(r *Rule) { r.For = 1 }, true},
		"window":    {func(r *Rule) { r.Window++ }, false},
		"agg":       {func(r *Rule) { r.Agg = series.Sum }, false},
		"group":     {func(r *Rule) { r.GroupBy = []string{"country"} }, false},
		"where":     {func(r *Rule) { r.Where = map[string]string{"a": "b"} }, false},
		"metric":    {func(r *Rule) { r.Metric = "other" }, false},
	} {
		if got := a.SameComputation(rule(c.change)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add([]byte(contractRule))
	f.Add([]byte(`{"condition":{"type":"ratio"},"where":{"a":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, errs := ParseRule(b)
		if errs != nil {
			return
		}
		_ = r.Validate(true, nil)
		written, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		again, errs := ParseRule(written)
		if errs != nil {
			t.Fatalf("%s: %v", written, errs)
		}
		if !again.SameComputation(&r) {
			t.Fatalf("%s is another rule than %s", written, b)
		}
	})
}
