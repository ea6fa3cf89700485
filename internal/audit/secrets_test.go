package audit_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// bodies are what resources of each kind have for a body, and the texts of it that the audit log shows: whoever adds a field to one of these types decides
// here whether it is a secret.
func bodies() map[store.Kind]struct {
	body  any
	shown string
} {
	type row = struct {
		body  any
		shown string
	}
	return map[store.Kind]row{
		store.KindTenant:  {&tenant.Tenant{}, "name"},
		store.KindKey:     {&auth.Key{}, "created_by name role scopes"},
		store.KindSource:  {&catalog.Source{}, "name vendor"},
		store.KindChannel: {&catalog.Channel{}, "name type"},
		store.KindMetric:  {&metric.Definition{}, "description dimensions event_types filter name unit value vendor"},
		store.KindRule:    {&alert.Rule{}, "agg channels condition.op condition.type group_by labels metric name no_data severity summary where"},
		store.KindGroup:   {&catalog.Group{}, "created_by external_id name"},
		store.KindNote:    {&[]catalog.Note{}, "by kind text"},
	}
}

// planted fills every text within v with one that tells its path.
func planted(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		planted(v.Elem(), path)
	case reflect.String:
		v.SetString("<" + path + ">")
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			text := strconv.Quote("<" + path + ">")
			v.Set(reflect.ValueOf(json.RawMessage(`{"url":` + text + `,"headers":{"Authorization":[` + text + `]},"port":` + text + `}`)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		planted(v.Index(0), path)
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		planted(value, path)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("name").Convert(v.Type().Key()), value)
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if v.Type().Field(i).IsExported() && name != "" && name != "-" {
				planted(v.Field(i), strings.TrimPrefix(path+"."+name, "."))
			}
		}
	}
}

func TestNoSecretIsEverRecorded(t *testing.T) {
	marks := regexp.MustCompile(`\\u003c([a-z_.]+)\\u003e`)
	secret := regexp.MustCompile(`secret|token|password|hash|lookup|config|jwk|private|recovery|totp`)
	for kind, row := range bodies() {
		c := over(t)
		v := reflect.ValueOf(row.body)
		planted(v, "")
		full, err := json.Marshal(row.body)
		if err != nil {
			t.Fatal(err)
		}
		p := store.Put{Tenant: "acme", Kind: kind, Slug: "s", Lookup: "<lookup>", Body: full, At: noon()}
		empty, err := json.Marshal(reflect.New(v.Type().Elem()).Interface())
		if err != nil {
			t.Fatal(err)
		}
		put(t, t.Context(), c, p) // all of it is new,
		p.Body = empty
		put(t, t.Context(), c, p) // it was there before,
		p.Body = full
		put(t, t.Context(), c, p) // and it is what has changed
		if err := c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: kind, Slug: "s"}); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, id := range []tenant.ID{"acme", store.Installation} {
			for _, e := range chain(t, c, id) {
				for _, m := range marks.FindAllStringSubmatch(e.Text, -1) {
					seen[m[1]] = true
				}
			}
		}
		var shown []string
		for path := range seen {
			shown = append(shown, path)
			if secret.MatchString(path) {
				t.Errorf("of a %s, %s is recorded", kind, path)
			}
		}
		slices.Sort(shown)
		if got := strings.Join(shown, " "); got != row.shown {
			t.Errorf("of a %s these are recorded: %s, want: %s", kind, got, row.shown)
		}
	}
}

func TestWhatNobodyHasDecidedIsHidden(t *testing.T) {
	c := over(t)
	put(t, t.Context(), c, store.Put{Tenant: "acme", Kind: "unheard-of", Slug: "s", Body: json.RawMessage(`{"a":"secret","b":{"c":["secret"],"d":null,"n":7}}`)})
	put(t, t.Context(), c, store.Put{Tenant: "acme", Kind: "unheard-of", Slug: "s", Body: json.RawMessage(`{"a":"secret","b":{"c":["SECRET"],"n":7},"new":{"e":1}}`)})
	put(t, t.Context(), c, store.Put{Tenant: "acme", Kind: "unheard-of", Slug: "list", Body: json.RawMessage(`["secret"]`)})
	wantChain(t, c, "acme",
		`system unheard-of.put unheard-of/s null→{"a":"[hidden]","b":{"c":"[hidden]","d":null,"n":"[hidden]"}}`,
		`system unheard-of.put unheard-of/s {"a":"[hidden]","b":{"c":"[hidden]","d":null,"n":"[hidden]"}}→{"a":"[hidden]","b":{"c":"[changed]","n":"[hidden]"},"new":{"e":"[changed]"}}`,
		`system unheard-of.put unheard-of/list null→"[hidden]"`)
}

// A kind of resource that is new has no row yet, and is recorded without any value until somebody has decided.
func TestEveryKindOfResourceHasARow(t *testing.T) {
	files, err := filepath.Glob("../store/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			typ, ok := spec.Type.(*ast.Ident)
			if !ok || typ.Name != "Kind" {
				return true
			}
			for _, v := range spec.Values {
				lit, ok := v.(*ast.BasicLit)
				if !ok {
					continue
				}
				kind, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				found++
				if !audit.HasRow(store.Kind(kind)) {
					t.Errorf("the kind %q has no row in internal/audit/kinds.go: say which members of its body may be shown, or that it is the program's bookkeeping", kind)
				}
			}
			return true
		})
	}
	if found < 10 {
		t.Errorf("only %d kinds were found", found)
	}
}
