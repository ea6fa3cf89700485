package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/verify"
)

type verifyCmd struct {
	DataDir string `help:"Data directory of a server that is stopped." default:"./pulsestream-data" type:"path" placeholder:"DIR"`
	Store   string `help:"The store of events, if it is not in its place." placeholder:"FILE"`
	Address string `help:"Ask a running server instead. Nothing should be sent to it meanwhile." placeholder:"URL"`
	Key     string `help:"API key for the running server; it may read events and metrics." placeholder:"KEY"`
	Ledger  string `help:"A sender's ledger to compare with; see client/ledger." type:"path" placeholder:"FILE"`
	Tenant  string `help:"Whose events the ledger is about, in a data directory." default:"default" placeholder:"TENANT"`
	JSON    bool   `help:"Print the report as JSON." name:"json"`
}

// errViolated makes the exit code 1; what is wrong has been printed.
var errViolated = errors.New("what is stored is not what it should be")

// Run verifies and prints the report.
func (c *verifyCmd) Run(ctx context.Context) error {
	report, err := c.verify(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = report.WriteJSON(os.Stdout)
	} else {
		err = report.WriteText(os.Stdout)
	}
	if err == nil && !report.OK {
		err = errViolated
	}
	return err
}

func (c *verifyCmd) verify(ctx context.Context) (*verify.Report, error) {
	var book *ledger.Ledger
	if c.Ledger != "" {
		f, err := os.Open(c.Ledger)
		if err != nil {
			return nil, err
		}
		book, err = ledger.Read(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Ledger, err)
		}
	}
	if c.Address != "" {
		return verify.Online(ctx, verify.OnlineConfig{Client: client.New(c.Address, c.Key), Target: c.Address, Ledger: book, Now: time.Now})
	}
	if err := forFiles("verify without --address", c.Store); err != nil {
		return nil, err
	}
	places := config.Serve{DataDir: c.DataDir, Store: c.Store}
	return verify.Offline(ctx, verify.OfflineConfig{DataDir: c.DataDir, EventsPath: places.EventsPath(), CatalogPath: places.CatalogPath(), LogDir: places.LogDir(),
		Ledger: book, Tenant: tenant.ID(c.Tenant), Log: app.NewLogger(os.Stderr, "text", "error"), Now: time.Now})
}
