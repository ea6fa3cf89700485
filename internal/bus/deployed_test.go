package bus

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// The servers of deploy/ are set as the log needs them, by the judgement of nats-server's own reader of the file.
func TestTheDeployedServersAreSetAsTheLogNeedsThem(t *testing.T) {
	for name, value := range map[string]string{
		"NATS_NAME":            "nats-1",
		"NATS_PASSWORD_QUOTED": `"1234567890"`, // without the quotes it would be a number
		"NATS_ROUTES":          `["nats://route:1234567890@nats-1:6222", "nats://route:1234567890@nats-2:6222", "nats://route:1234567890@nats-3:6222"]`,
	} {
		t.Setenv(name, value)
	}
	o, err := server.ProcessConfigFile("../../deploy/helm/pulsestream/files/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !o.JetStream || !o.SyncAlways || o.StoreDir != "/data" {
		t.Errorf("JetStream %v, syncs always %v, in %s", o.JetStream, o.SyncAlways, o.StoreDir)
	}
	if o.ServerName != "nats-1" || o.Cluster.Name == "" || len(o.Routes) != 3 || o.Routes[2].Hostname() != "nats-3" || o.Cluster.Password != "1234567890" {
		t.Errorf("%q in the cluster %q with routes to %v", o.ServerName, o.Cluster.Name, o.Routes)
	}
	if most := int(o.MaxPayload); most != 0 && most < MaxPayload+1024 {
		t.Errorf("messages may have %d bytes, the log's have up to %d", most, MaxPayload)
	}
	if o.SystemAccount != "SYS" || len(o.Accounts) != 2 || len(o.Users) != 2 {
		t.Errorf("system account %q of %d, %d users", o.SystemAccount, len(o.Accounts), len(o.Users))
	}
}
