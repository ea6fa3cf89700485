package duckdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	driver "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// instance is an open database file.
type instance struct{ db mapping.Database }

// openInstance opens the file at path, which is made when there is none. The driver's cache of instances is used because DuckDB's own
// lock holds off other processes only: the same file opened twice by one process would be two writers that don't know of
// each other.
func openInstance(path string, settings map[string]string) (*instance, error) {
	var config mapping.Config
	if mapping.CreateConfig(&config) == mapping.StateError {
		return nil, errors.New("duckdb: cannot make a configuration")
	}
	defer mapping.DestroyConfig(&config)
	for name, value := range settings {
		if mapping.SetConfig(config, name, value) == mapping.StateError {
			return nil, fmt.Errorf("duckdb: setting %s cannot be %q", name, value)
		}
	}
	var i instance
	var message string
	if mapping.GetOrCreateFromCache(driver.GetInstanceCache(), path, &i.db, config, &message) == mapping.StateError {
		mapping.Close(&i.db)
		return nil, &engineError{message: message}
	}
	return &i, nil
}

func (i *instance) close() { mapping.Close(&i.db) }

// conn is a connection. One goroutine uses it at a time.
type conn struct{ raw mapping.Connection }

func (i *instance) connect() (*conn, error) {
	c := &conn{}
	if mapping.Connect(i.db, &c.raw) == mapping.StateError {
		return nil, errors.New("duckdb: cannot connect")
	}
	return c, nil
}

func (c *conn) close() { mapping.Disconnect(&c.raw) }

// exec runs a statement that returns nothing. The end of ctx does not stop it: it is for the writer, whose statements are short and whose
// transactions are rolled back between them.
func (c *conn) exec(sql string, args ...any) error {
	r, err := c.run(sql, args)
	if err != nil {
		return err
	}
	r.close()
	return nil
}

// query runs a statement; the end of ctx interrupts it. Its result is complete when it returns, so the connection is free
// for the next statement while the result is read.
func (c *conn) query(ctx context.Context, sql string, args ...any) (*result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stop := c.interruptAtEnd(ctx)
	r, err := c.run(sql, args)
	stop()
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return r, err
}

// interruptAtEnd interrupts what the connection runs when ctx ends, until stop is called. An interrupt is forgotten when it
// comes just before a statement begins, so it is repeated.
func (c *conn) interruptAtEnd(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	over, finished := make(chan struct{}), make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		defer close(finished)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			mapping.Interrupt(c.raw)
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(over)
		if !release() {
			<-finished // or it could interrupt the connection's next statement
		}
	}
}

// run prepares a statement, executes it and forgets it. Prepared statements are not kept, which would save 70 µs each, because
// DuckDB plans one without parameters just once, from the statistics of that moment: `a > 100`, prepared while the table was
// empty, finds nothing for ever.
func (c *conn) run(sql string, args []any) (*result, error) {
	var s mapping.PreparedStatement
	defer mapping.DestroyPrepare(&s)
	if mapping.Prepare(c.raw, sql, &s) == mapping.StateError {
		return nil, &engineError{message: mapping.PrepareError(s)}
	}
	for i, arg := range args {
		if err := bind(s, mapping.IdxT(i+1), arg); err != nil {
			return nil, err
		}
	}
	return execute(s)
}

// execute does what duckdb_execute_prepared does, but for the wait: that one spins while another of DuckDB's threads is at the
// statement's last task, which for a COMMIT is as long as the disk takes.
func execute(s mapping.PreparedStatement) (*result, error) {
	var p mapping.PendingResult
	defer mapping.DestroyPending(&p)
	if mapping.PendingPrepared(s, &p) == mapping.StateError {
		return nil, &engineError{message: mapping.PendingError(p)}
	}
	for wait := 10 * time.Microsecond; ; {
		state := mapping.PendingExecuteTask(p)
		if state == mapping.PendingStateError {
			return nil, &engineError{message: mapping.PendingError(p)}
		}
		if mapping.PendingExecutionIsFinished(state) {
			break
		}
		if state == mapping.PendingStateNoTasksAvailable {
			<-time.After(wait)
			wait = min(2*wait, time.Millisecond/4)
		}
	}
	r := &result{}
	if mapping.ExecutePending(p, &r.raw) == mapping.StateError {
		err := &engineError{message: mapping.ResultError(&r.raw)}
		mapping.DestroyResult(&r.raw)
		return nil, err
	}
	return r, nil
}

// bind sets a parameter. Its type must be that of the column it is compared with: with another one DuckDB casts the column, and then
// neither zone maps nor the order of its filters help.
func bind(s mapping.PreparedStatement, i mapping.IdxT, arg any) error {
	var state mapping.State
	switch v := arg.(type) {
	case nil:
		state = mapping.BindNull(s, i)
	case bool:
		state = mapping.BindBoolean(s, i, v)
	case int:
		state = mapping.BindInt64(s, i, int64(v))
	case int64:
		state = mapping.BindInt64(s, i, v)
	case int32:
		state = mapping.BindInt32(s, i, v)
	case uint32:
		state = mapping.BindUInt32(s, i, v)
	case uint64:
		state = mapping.BindUInt64(s, i, v)
	case float64:
		state = mapping.BindDouble(s, i, v)
	case string:
		state = mapping.BindVarcharLength(s, i, v, mapping.IdxT(len(v)))
	case []byte:
		state = mapping.BindBlob(s, i, v)
	case []string:
		state = bindList(s, i, mapping.TypeVarchar, v, func(t string) mapping.Value {
			return mapping.CreateVarcharLength(t, mapping.IdxT(len(t)))
		})
	case []int64:
		state = bindList(s, i, mapping.TypeBigInt, v, mapping.CreateInt64)
	default:
		return fmt.Errorf("duckdb: parameter %d cannot be a %T", i, arg)
	}
	if state == mapping.StateError {
		return fmt.Errorf("duckdb: parameter %d cannot be bound: %s", i, mapping.PrepareError(s))
	}
	return nil
}

func bindList[T any](s mapping.PreparedStatement, i mapping.IdxT, of mapping.Type, items []T, value func(T) mapping.Value) mapping.State {
	kind := mapping.CreateLogicalType(of)
	defer mapping.DestroyLogicalType(&kind)
	values := make([]mapping.Value, len(items))
	for n, item := range items {
		values[n] = value(item)
		defer mapping.DestroyValue(&values[n])
	}
	list := mapping.CreateListValue(kind, values)
	defer mapping.DestroyValue(&list)
	return mapping.BindValue(s, i, list)
}

// part is a partition's number as its columns hold it.
func part(partition int) int32 { return int32(partition) } //nolint:gosec // there are some dozens of partitions
