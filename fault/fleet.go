//go:build linux

package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus/bustest"
	"github.com/pulsestream/pulsestream/internal/store/postgres/pgtest"
)

// Serve is a NATS server of a fleet, in a process that was started to be one. It is false in every other.
func Serve() bool { return bustest.Serve() }

// fleet is several processes of the server on the engines that they share: PostgreSQL, three NATS servers, Redis, two processes of each role.
type fleet struct {
	*rig
	at       addresses
	postgres *pgtest.Server
	nats     *bustest.Cluster
	redis    *exec.Cmd
	port     int // of Redis
	front    *front
	members  []*member
}

// addresses are where the engines listen.
type addresses struct{ postgres, others string }

// member is a process of the fleet.
type member struct {
	*server
	role string
	wrap []string // what it runs inside of
	at   []*url.URL
	i    int
	base string // address of its life
}

// fleetNeeds says why no fleet can be started, or nil.
func fleetNeeds() error {
	if _, err := pgtest.Bin(); err != nil {
		return err
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		return errors.New("there is no redis-server here")
	}
	return nil
}

// newFleet starts the engines and two processes of each role. In is what the first worker is started inside of, and its address; nothing for where the others are.
func (r *rig) newFleet(at addresses, in []string, address string) (*fleet, error) {
	f := &fleet{rig: r, at: at}
	r.onEnd(f.endEngines)
	var err error
	// A commit is with the kernel before it is answered, which a crash of the server leaves alone. What a power cut leaves is PostgreSQL's own affair, and its
	// recovery would sync a thousand files of a fresh cluster first.
	if f.postgres, err = pgtest.New(r.ctx, pgtest.Options{Listen: at.postgres, Settings: []string{"synchronous_commit=on"}}); err != nil {
		return nil, err
	}
	database, err := f.postgres.Create(r.ctx)
	if err != nil {
		return nil, err
	}
	if f.nats, err = bustest.New(r.scratch, bustest.Options{Listen: at.others}); err != nil {
		return nil, err
	}
	if f.port, err = freePort(at.others); err != nil {
		return nil, err
	}
	if err := f.startRedis(); err != nil {
		return nil, err
	}
	f.front = newFront(2, 2)
	r.onEnd(f.front.end)
	shared := []string{"--store", database, "--bus", f.nats.URL(), "--redis", "redis://" + net.JoinHostPort(at.others, strconv.Itoa(f.port))}
	for _, role := range []string{"ingest", "worker", "api"} {
		for i := range 2 {
			m := &member{role: role, i: i, server: &server{binary: r.binary, dir: filepath.Join(r.scratch, role+strconv.Itoa(i)), log: r.server.log, args: append([]string{"--roles", role}, shared...)}}
			switch role {
			case "ingest":
				m.at = f.front.ingest
			case "api":
				m.at = f.front.apis
			}
			if role == "worker" && i == 0 && address != "" {
				m.wrap, m.listen = in, net.JoinHostPort(address, "0")
			}
			f.members = append(f.members, m)
		}
	}
	r.onEnd(f.endMembers)
	for _, m := range f.members {
		if err := f.up(m); err != nil {
			return nil, err
		}
	}
	r.base = f.front.URL
	r.target.set(r.client(r.base))
	return f, r.configure()
}

// up starts a process and waits until it does its part.
func (f *fleet) up(m *member) error {
	began := time.Now()
	p, err := m.spawn(m.wrap...)
	if err != nil {
		return err
	}
	base, err := p.awaitReady(f.ctx, readyWithin)
	if err != nil {
		return fmt.Errorf("a process of role %s: %w", m.role, err)
	}
	f.result.Ready = append(f.result.Ready, time.Since(began))
	m.base = base
	if m.at == nil {
		return nil
	}
	return f.front.set(m.at, m.i, base)
}

// down says that a process takes no requests any more.
func (f *fleet) down(m *member) error {
	if m.at == nil {
		return nil
	}
	return f.front.set(m.at, m.i, "")
}

// those are the processes of a role.
func (f *fleet) those(role string) (out []*member) {
	for _, m := range f.members {
		if m.role == role {
			out = append(out, m)
		}
	}
	return out
}

func (f *fleet) endMembers() error {
	for _, m := range f.members {
		m.kill()
	}
	return nil
}

func (f *fleet) endEngines() error {
	f.killRedis()
	if f.nats != nil {
		f.nats.End()
	}
	if f.postgres != nil {
		f.postgres.Remove()
	}
	return nil
}

func (f *fleet) startRedis() error {
	f.redis = exec.Command("redis-server", "--bind", f.at.others, "--port", strconv.Itoa(f.port), "--save", "", "--appendonly", "no", "--protected-mode", "no") //nolint:gosec,noctx // it is killed, that is the point
	f.redis.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := f.redis.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(f.ctx, 10*time.Second)
	defer cancel()
	return poll(ctx, 10*time.Millisecond, func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(f.at.others, strconv.Itoa(f.port)), time.Second) //nolint:noctx // bounded
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

func (f *fleet) killRedis() {
	if f.redis == nil || f.redis.Process == nil {
		return
	}
	_ = f.redis.Process.Kill() // it may have ended
	_ = f.redis.Wait()
	f.redis = nil
}

// freePort is one that nobody listens on, below those that connections get.
func freePort(address string) (int, error) {
	for port := 10_000 + os.Getpid()%10_000; port < 32_768; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port))) //nolint:noctx // it is closed at once
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

func fleetScenarios() []scenario {
	return []scenario{
		{name: "fleet/kill", about: "kill -9 of each process, each NATS server and Redis, and a crash of PostgreSQL, while events come in", short: 1, long: 10, limit: 8 * time.Minute,
			needs: fleetNeeds, run: fleetKills},
		{name: "fleet/rolling", about: "all processes are restarted one after the other while events come in", short: 1, long: 5, limit: 5 * time.Minute, needs: fleetNeeds, run: fleetRolling},
		{name: "fleet/cut", about: "the network between a worker and PostgreSQL is cut for some seconds", short: 1, long: 10, limit: 5 * time.Minute, needs: cutNeeds, run: fleetCut},
	}
}

// caughtUpWithin is how long a fleet may take after a fault until what is sent then is stored.
const caughtUpWithin = 30 * time.Second

// blow strikes while events come in, waits until the fleet has caught up, with the fault still there where it lasts, mends it, and checks everything.
func (f *fleet) blow(name string, strike, mend func() error) error {
	t := f.write(lightLoad())
	pause(f.ctx, f.between(200*time.Millisecond, 600*time.Millisecond))
	f.server.log.mark("%s", name)
	f.result.Faults++
	err := strike()
	began := time.Now()
	if err == nil {
		err = f.settle()
	}
	if took := time.Since(began); err == nil {
		f.result.Resumed = append(f.result.Resumed, took)
		if took > caughtUpWithin {
			err = fmt.Errorf("the fleet caught up after %s, it should within %s", took.Round(time.Millisecond), caughtUpWithin)
		}
	}
	if err == nil && mend != nil {
		err = mend()
	}
	if err = errors.Join(err, t.stop()); err == nil {
		err = f.check()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (f *fleet) killMember(m *member) error {
	if err := f.down(m); err != nil {
		return err
	}
	m.kill()
	return nil
}

func fleetKills(r *rig) error {
	f, err := r.newFleet(addresses{"127.0.0.1", "127.0.0.1"}, nil, "")
	if err != nil {
		return err
	}
	for _, role := range []string{"worker", "ingest", "api"} {
		those := f.those(role)
		m := those[r.rand.IntN(len(those))]
		if err := f.blow("kill of a process of role "+role, func() error { return f.killMember(m) }, func() error { return f.up(m) }); err != nil {
			return err
		}
	}
	for i := range 3 { // one of them leads
		if err := f.blow("kill of NATS server "+strconv.Itoa(i), func() error { f.nats.Kill(i); return nil }, func() error { return f.nats.Run(i) }); err != nil {
			return err
		}
	}
	if err := f.blow("kill of Redis", func() error { f.killRedis(); return nil }, f.startRedis); err != nil {
		return err
	}
	return f.blow("crash of PostgreSQL", func() error {
		if err := f.postgres.Restart(r.ctx, pgtest.Immediate); err != nil {
			return fmt.Errorf("%w\n%s", err, f.postgres.Tail())
		}
		return nil
	}, nil)
}

// fleetRolling restarts every process, as an upgrade does. Requests that fail meanwhile are sent again with the same ids.
func fleetRolling(r *rig) error {
	f, err := r.newFleet(addresses{"127.0.0.1", "127.0.0.1"}, nil, "")
	if err != nil {
		return err
	}
	return f.blow("rolling restart", func() error {
		for _, m := range f.members {
			if err := cmp.Or(f.down(m), m.stop(), f.up(m)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}
