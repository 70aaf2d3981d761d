package vm

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// TestUpgradeUnderLoadLosesNothing installs a newer package while sensors publish: this program
// under another version, or instead of what PREVIOUS names.
func TestUpgradeUnderLoadLosesNothing(t *testing.T) {
	m := newMachine(t)
	shore, ledger := m.openShore(), firmwaresim.NewLedger()
	m.boot()
	m.install(m.previous())
	m.configure(m.site(shore.url, ""))
	from, newer := m.installed(), m.give(m.deb())
	once := m.startFleet(firmwaresim.FleetConfig{Prefix: "once-", QoS: 1, Devices: 16, Rate: 4}, ledger)
	exactly := m.startFleet(firmwaresim.FleetConfig{Prefix: "exactly-", QoS: 2, Devices: 4, Rate: 4}, ledger)
	for _, f := range []*fleet{once, exactly} {
		if !f.awaitAck(m.patience()) {
			t.Fatal("nothing was acknowledged")
		}
	}
	before, pid := once.Stats().Acked, m.property("MainPID")
	watch := m.watchDoor()
	begun := time.Now()
	m.must("DEBIAN_FRONTEND=noninteractive apt-get install -y -o Dpkg::Options::=--force-confold " + newer)
	took := time.Since(begun)
	m.active()
	if !once.awaitAck(m.patience()) || !exactly.awaitAck(m.patience()) {
		t.Fatal("the new gateway acknowledges nothing")
	}
	shut := watch()
	if m.property("MainPID") == pid {
		t.Error("the old program still runs")
	}
	if got, want := m.installed(), m.version(m.deb()); got != want {
		t.Errorf("version %s is installed, not %s", got, want)
	}
	m.owns()
	once.stop()
	exactly.stop()
	shore.awaitDelivery()
	v := shore.audit(ledger)
	if v.Lost > 0 || v.Acked <= before {
		t.Errorf("audit: %v; the first: %v", v, v.FirstLost)
	}
	shore.auditLanes()
	fmt.Printf("%s: upgrade from %s under load: %v; apt %v, door shut for %v\n", m.arch, from, v, took.Round(100*time.Millisecond), shut.Round(10*time.Millisecond))
}

// watchDoor looks at the MQTT door until the function that it returns is called,
// which tells the longest time that nobody got in. The network in between takes every
// connection, so that somebody is in when the broker has answered.
func (m *machine) watchDoor() func() time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	var watcher sync.WaitGroup
	var longest time.Duration
	watcher.Go(func() {
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for last := time.Now(); ; {
			select {
			case <-look.C:
				if getsIn(m.address("1883")) {
					longest, last = max(longest, time.Since(last)), time.Now()
				}
			case <-ctx.Done():
				longest = max(longest, time.Since(last))
				return
			}
		}
	})
	stop := sync.OnceFunc(func() { cancel(); watcher.Wait() })
	m.Cleanup(stop)
	return func() time.Duration { stop(); return longest }
}

// getsIn says whether a broker greets a client.
func getsIn(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	// CONNECT of MQTT 3.1.1: a clean session, 60 s, the client w.
	if _, err := conn.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01w")); err != nil {
		return false
	}
	var answer [4]byte
	n, err := conn.Read(answer[:])
	return err == nil && n > 0 && answer[0] == 0x20
}
