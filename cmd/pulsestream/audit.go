package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pulsestream/pulsestream/internal/audit"
)

// auditCmd is what is done with copies of audit logs, without a server.
type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check that nothing in an exported audit log was edited, removed or moved."`
}

type auditVerifyCmd struct {
	File string `arg:"" help:"What GET /v1/audit/export gave (NDJSON); - for the standard input."`
}

// Run follows the chain.
func (c *auditVerifyCmd) Run() error {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	found, err := audit.VerifyExport(in)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", c.File, err)
	case found.Entries == 0:
		return fmt.Errorf("%s: there is no entry in it", c.File)
	}
	for _, b := range found.Broken {
		fmt.Printf("entry %d: %s\n", b.Seq, b.Reason)
	}
	fmt.Printf("%d entries of the chain of %s, %d to %d\n", found.Entries, found.Tenant, found.First, found.Last.Seq)
	if len(found.Broken) > 0 {
		return errors.New("the audit log is not as it was written")
	}
	fmt.Printf("Nothing is missing or changed between them. That the server has the same still: GET /v1/audit/verify?seq=%d&hash=%s\n", found.Last.Seq, found.Last.Hash)
	return nil
}
