//go:build linux

package fault

import (
	"debug/buildinfo"
	"slices"
	"strings"
)

// hasTag says whether a Go binary was built with a build tag.
func hasTag(path, tag string) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			return slices.Contains(strings.Split(s.Value, ","), tag)
		}
	}
	return false
}
