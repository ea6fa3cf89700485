package config

import "testing"

func TestANewLogHasAPartitionForEachTwoProcessors(t *testing.T) {
	for _, c := range []struct {
		asked      int
		bus        string
		processors int
		want       int
	}{
		{0, "", 1, 1},
		{0, "", 2, 1},
		{0, "", 3, 1},
		{0, "", 8, 4},
		{0, "", 64, mostAlone},
		{3, "", 64, 3},
		{0, "nats://n1:4222", 2, fleetPartitions}, // its processes are on many machines
		{12, "nats://n1:4222", 2, 12},
	} {
		s := Serve{Partitions: c.asked, Bus: c.bus}
		if got := s.NewPartitions(c.processors); got != c.want {
			t.Errorf("%+v: %d partitions", c, got)
		}
	}
}
