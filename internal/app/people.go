package app

import "github.com/pulsestream/pulsestream/internal/signin"

// newPeople makes what lets people in.
func (a *App) newPeople() *signin.Service {
	return signin.New(signin.Config{Catalog: a.catalog, Log: a.opts.Log, Now: a.opts.Now})
}
