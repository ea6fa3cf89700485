package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// DecodeConfig reads a channel's configuration into the struct that into points to. A field that the struct does not have is a
// ConfigError, so that a misspelt one is not silently without effect.
func DecodeConfig(config json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return ConfigError{{Field: "config", Message: "must be one JSON object"}}
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
		field := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:] // an embedded struct is in the path, but not in the JSON
		return ConfigError{{Field: field, Message: "must not be a " + wrong.Value}}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return ConfigError{{Field: strings.Trim(name, `"`), Message: "there is no such field in this type of channel"}}
	}
	if field := ConfigError(nil); errors.As(err, &field) {
		return field
	}
	return ConfigError{{Field: "config", Message: "must be a JSON object with the fields of this type of channel"}}
}
