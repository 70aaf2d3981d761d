package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ashore gives the site commands by the cloud: asked for, or beside the
// acknowledgements of readings.
func (s *site) ashore(ask bool) {
	s.Helper()
	s.more = fmt.Sprintf(`
[command]
allow = ["dev/+/set"]
max_rate = 6000
[[command.http]]
name = "cloud-orders"
url = "http://%s/v1/commands"
ask = %v
poll = "0s"
beside = "cloud"
`, s.cloud, ask)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
}

// order gives the cloud a command, which it takes at some time.
func (s *site) order(document string) {
	s.Helper()
	s.eventually("the cloud takes "+document, func() bool {
		resp, err := http.Post("http://"+s.cloud+"/v1/commands?gateway=north-7", "application/json", strings.NewReader(document))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusAccepted
	})
}

// ordered returns the states that the gateway has answered, by command.
func (s *site) ordered() map[string][]string {
	s.Helper()
	var said struct {
		Commands []struct {
			ID      string
			Answers []struct{ State string }
		}
	}
	s.get("http://"+s.cloud+"/v1/commands/log?gateway=north-7", func(resp *http.Response) error {
		return json.NewDecoder(resp.Body).Decode(&said)
	})
	all := map[string][]string{}
	for _, c := range said.Commands {
		for _, a := range c.Answers {
			all[c.ID] = append(all[c.ID], a.State)
		}
	}
	return all
}

// TestCommandsFromTheCloudComeOnce: gateway and cloud are killed again and again.
func TestCommandsFromTheCloudComeOnce(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := newSite(t)
	s.ashore(true)
	dice := seeded(t)
	shore := s.startCloud()
	gateway := s.startGateway()
	device := s.newSleeper()
	device.subscribe()
	s.eventuallyStatus("commands can come", commandsUp)
	const commands = 30
	for i := range commands {
		s.order(fmt.Sprintf(`{"id":"c-%d","topic":"dev/pump/set","payload":"c-%d","ttl":"10m"}`, i, i))
		switch dice.IntN(8) {
		case 0:
			gateway.kill()
			gateway = s.startGateway()
		case 1:
			shore.kill()
			shore = s.startCloud()
		}
	}
	for i := range commands {
		id := fmt.Sprint("c-", i)
		s.eventually(id+" is answered", func() bool { return len(s.ordered()[id]) > 0 })
		s.eventually("the device has "+id, func() bool { return device.got(id) > 0 })
	}
	t.Logf("%d deliveries came again, and said so", device.checkOnce())
	s.checkAudit(commands)
}

// TestCommandsComeBesideReadings: with an acknowledgement, and nobody asks. One that
// comes too late for the gateway is lost, and another one brings the command again.
func TestCommandsComeBesideReadings(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := newSite(t)
	s.ashore(false)
	s.startCloud()
	s.startGateway()
	device := s.newSleeper()
	device.subscribe()
	s.eventuallyStatus("commands can come", commandsUp)
	s.order(`{"id":"1","topic":"dev/pump/set","payload":"on","ttl":"10m"}`)
	next := time.Now()
	s.eventually("it is delivered", func() bool {
		if now := time.Now(); now.After(next) {
			next = now.Add(time.Second)
			if t := device.client.Publish("raw/pump", 1, false, "a reading"); !t.WaitTimeout(patience) || t.Error() != nil {
				s.Fatal(t.Error())
			}
		}
		return device.got("on") == 1
	})
	s.eventually("and answered", func() bool {
		states := s.ordered()["1"]
		return len(states) == 2 && states[0] == "accepted" && states[1] == "delivered"
	})
}
