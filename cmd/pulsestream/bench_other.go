//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

// perfFlags are of the parts that start servers of their own: they read what only Linux tells of a process.
type perfFlags struct{}

type perfReport struct{}

type benchServeCmd struct{}

type benchNoopCmd struct{}

func perfParts() string { return "none on this system" }

func splitParts(all []string) (rest, own []string) { return all, nil }

func (perfFlags) measure(context.Context, []string, string) (*perfReport, error) {
	return nil, notHere()
}

func (*perfReport) WriteTable(io.Writer) error { return notHere() }

func (*perfReport) Missed() error { return notHere() }

// Run says that it cannot.
func (benchServeCmd) Run() error { return notHere() }

// Run says that it cannot.
func (benchNoopCmd) Run() error { return notHere() }

func notHere() error { return errors.New("this part of the benchmark runs on Linux only") }
