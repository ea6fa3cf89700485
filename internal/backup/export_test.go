package backup

import "context"

// MakeWithSteps is Make, told of each step before it is made; an error breaks it off there.
func MakeWithSteps(ctx context.Context, s Settings, step func(name string) error) (*Result, error) {
	s.step = step
	return Make(ctx, s, nil)
}

// WithFileRows is a source whose files have about so many events.
func WithFileRows(s Source, rows uint64) Source {
	s.rows = rows
	return s
}
