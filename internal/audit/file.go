package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Copy is what following an exported stretch of a chain has found.
type Copy struct {
	Tenant  tenant.ID // whose chain it is
	First   int64     // number of its first entry
	Entries int64
	Last    store.Head
	Broken  []store.Break
}

// VerifyExport follows the entries of an NDJSON export. What it finds unbroken was not changed since it was written, and is the chain's if Last is what the
// server says of that entry.
func VerifyExport(r io.Reader) (Copy, error) {
	var c Copy
	var v store.Verifier
	var strange []store.Break
	lines := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return c, err
		}
		ended := errors.Is(err, io.EOF)
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			e, err := store.ParseLine(line)
			switch {
			case err != nil && c.First == 0:
				return c, fmt.Errorf("line %d is no entry of an audit log in NDJSON: %w", n, err)
			case err != nil:
				strange = append(strange, store.Break{Seq: v.Last().Seq, Reason: fmt.Sprintf("line %d, behind it, is no entry: %v", n, err)})
			default:
				if c.First == 0 {
					c.Tenant, c.First = e.Tenant, e.Seq
				}
				if e.Tenant != c.Tenant {
					e.Wrong = "it is of another chain"
				}
				v.Add(&e)
			}
		}
		if ended {
			c.Entries, c.Broken = v.Result()
			c.Broken, c.Last = append(c.Broken, strange...), v.Last()
			return c, nil
		}
	}
}
