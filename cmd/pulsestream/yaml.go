package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// yamlResolver reads settings from a YAML file: keys are the flags' names, with - or _ between words.
func yamlResolver(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && err != io.EOF { //nolint:errorlint // an empty file; the decoder returns it as it is
		return nil, fmt.Errorf("the configuration file is not YAML of names and values: %w", err)
	}
	settings := map[string]any{}
	for k, v := range values {
		if list, ok := v.([]any); ok {
			parts := make([]string, 0, len(list))
			for _, e := range list {
				parts = append(parts, fmt.Sprint(e))
			}
			v = strings.Join(parts, ",")
		}
		settings[strings.ReplaceAll(k, "_", "-")] = v
	}
	return &yamlSettings{settings: settings}, nil
}

type yamlSettings struct{ settings map[string]any }

// Validate refuses a key that no command has: a misspelt one must not be without effect.
func (y *yamlSettings) Validate(app *kong.Application) error {
	var known []string
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok {
			known = append(known, f.Name)
		}
		return next(nil)
	})
	for k := range y.settings {
		if !slices.Contains(known, k) {
			return fmt.Errorf("the configuration file has the unknown key %q: see pulsestream serve --help for those that there are", k)
		}
	}
	return nil
}

// Resolve gives a flag its value.
func (y *yamlSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v, ok := y.settings[flag.Name]
	if !ok {
		return nil, nil
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	return fmt.Sprint(v), nil
}
