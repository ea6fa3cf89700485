//go:build linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// cutNeeds says why no network can be cut, or nil.
func cutNeeds() error {
	if err := fleetNeeds(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("a network namespace takes root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("there is no ip here (Debian: iproute2)")
	}
	name := "pscheck" + fmt.Sprint(os.Getpid())
	if err := command("ip", "netns", "add", name); err != nil {
		return fmt.Errorf("no network namespace can be made here: %w", err)
	}
	return command("ip", "netns", "del", name)
}

// network is a namespace of its own, whose only way out is a cable to this machine, where PostgreSQL has one address and all else another.
type network struct {
	name, cable      string
	postgres, others string // addresses on this side
	inside           string // address in the namespace
}

// newNetwork makes one, which is removed at the end of the run.
func (r *rig) newNetwork() (*network, error) {
	id := os.Getpid()%60_000 + 1
	subnet := fmt.Sprintf("10.%d.%d.", 200+id>>8&15, id&255)
	n := &network{name: fmt.Sprint("psfault", id), cable: fmt.Sprint("psf", id), postgres: subnet + "1", others: subnet + "2", inside: subnet + "3"}
	r.onEnd(func() error { return command("ip", "netns", "del", n.name) }) // takes the cable along
	peer := n.cable + "p"
	for _, args := range [][]string{
		{"netns", "add", n.name},
		{"link", "add", n.cable, "type", "veth", "peer", "name", peer},
		{"link", "set", peer, "netns", n.name},
		{"addr", "add", n.postgres + "/24", "dev", n.cable},
		{"addr", "add", n.others + "/24", "dev", n.cable},
		{"link", "set", n.cable, "up"},
		{"-n", n.name, "addr", "add", n.inside + "/24", "dev", peer},
		{"-n", n.name, "link", "set", peer, "up"},
		{"-n", n.name, "link", "set", "lo", "up"},
	} {
		if err := command("ip", args...); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// cut takes the way to PostgreSQL away from whoever is in the namespace: what is sent there is gone, and nobody is told.
func (n *network) cut() error {
	return command("ip", "-n", n.name, "neigh", "replace", n.postgres, "lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", n.cable+"p")
}

// mend gives it back.
func (n *network) mend() error {
	return command("ip", "-n", n.name, "neigh", "del", n.postgres, "dev", n.cable+"p")
}

// holds are the partitions that a worker processes.
func (f *fleet) holds(m *member) ([]int, error) {
	var v struct {
		Fleet struct {
			Holds []int `json:"holds"`
		} `json:"fleet"`
	}
	err := f.client(m.base).Do(f.ctx, http.MethodGet, "/readyz", nil, nil, &v)
	return v.Fleet.Holds, err
}

// await waits until a worker processes what is wanted.
func (f *fleet) await(m *member, wanted func(holds []int) bool) error {
	ctx, cancel := context.WithTimeout(f.ctx, 20*time.Second)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, func() error {
		holds, err := f.holds(m)
		if err == nil && !wanted(holds) {
			err = fmt.Errorf("a worker processes the partitions %v", holds)
		}
		return err
	})
}

// give has the worker to process the partition that the events go to, and the other one some others. Who joins takes what the other has too much.
func (f *fleet) give(to, other *member) error {
	p := tenant.Partition(tenant.Default, fleetPartitions)
	for _, joins := range []*member{nil, other, to, other, to} {
		stays := to
		if joins == to {
			stays = other
		}
		if joins != nil {
			joins.kill()
			if err := f.await(stays, func(holds []int) bool { return len(holds) == fleetPartitions }); err != nil {
				return err
			}
			if err := f.up(joins); err != nil {
				return err
			}
		}
		for _, m := range []*member{to, other} {
			if err := f.await(m, func(holds []int) bool { return len(holds) == fleetPartitions/2 }); err != nil {
				return err
			}
		}
		if holds, err := f.holds(to); err != nil || slices.Contains(holds, p) {
			return err
		}
	}
	return errors.New("the worker that can be cut off was never given the partition of the events")
}

// fleetPartitions is how many a log has unless somebody says otherwise.
const fleetPartitions = 4

// fleetCut cuts the worker that processes the events off its store, for less and for longer than it takes the other one to take over, and gives it back.
func fleetCut(r *rig) error {
	n, err := r.newNetwork()
	if err != nil {
		return err
	}
	f, err := r.newFleet(addresses{postgres: n.postgres, others: n.others}, []string{"ip", "netns", "exec", n.name}, n.inside)
	if err != nil {
		return err
	}
	workers := f.those("worker")
	for i, d := range []time.Duration{time.Second, 12 * time.Second} {
		if err := f.give(workers[0], workers[1]); err != nil {
			return err
		}
		if err := f.blow(fmt.Sprintf("cut %d, for %s", i+1, d), func() error {
			if err := n.cut(); err != nil {
				return err
			}
			pause(r.ctx, d)
			if d < 2*time.Second { // mended before anybody could take over
				return n.mend()
			}
			return nil
		}, func() error {
			if d < 2*time.Second {
				return nil
			}
			return n.mend()
		}); err != nil {
			return err
		}
	}
	return nil
}
