package daemon

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/tidegate/tidegate/dashboard"
)

// descriptorsForOthers is how many file descriptors the clients of all doors leave
// to the rest of the gateway: a journal that cannot open its next segment takes no
// readings, however many clients are connected.
const descriptorsForOthers = 64

// wantedClients is how many clients each door wants, by its name, that give each a
// file descriptor of its own.
func (c Config) wantedClients() map[string]int {
	wanted := map[string]int{}
	if c.Ingest.MQTT.Listen != "" {
		wanted["mqtt"] = c.Ingest.MQTT.MaxClients
	}
	if c.Ingest.HTTP.Listen != "" {
		wanted["http"] = c.Ingest.HTTP.MaxClients
	}
	for _, l := range c.Ingest.Line {
		if l.Transport == "tcp" && l.Listen != "" {
			wanted[l.doorName()] = l.MaxClients
		}
	}
	return wanted
}

// clientsWithin is how many of them so many file descriptors allow: all, or a
// share for each door.
func (c Config) clientsWithin(descriptors int) map[string]int {
	clients := c.wantedClients()
	allowed, all := descriptors-descriptorsForOthers-c.pageConnections(descriptors), sum(clients)
	if all <= allowed {
		return clients
	}
	for door, wanted := range clients {
		clients[door] = max(1, int(int64(wanted)*int64(allowed)/int64(all)))
	}
	return clients
}

// pageConnections is how many of them the page may have.
func (c Config) pageConnections(descriptors int) int {
	if c.Dashboard.Listen == "" {
		return 0
	}
	return max(8, min(dashboard.MaxConnections, descriptors/16))
}

func sum(clients map[string]int) (all int) {
	for _, n := range clients {
		all += n
	}
	return all
}

// tellClients tells whoever runs the gateway that some clients will find no room.
func (c Config) tellClients(log *slog.Logger) {
	wanted, allowed := c.wantedClients(), c.clientsWithin(descriptors())
	for _, door := range slices.Sorted(maps.Keys(wanted)) {
		if allowed[door] < wanted[door] {
			log.Warn("file descriptors do not suffice for max_clients — hint: raise LimitNOFILE= of the service",
				"source", door, "max_clients", wanted[door], "allowed", allowed[door])
		}
	}
}

// descriptors is how many files and connections this process may have open. At
// its start it raised that to the most that it is allowed.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // the least that Linux gives
	}
	return int(min(limit.Max, 1<<30))
}

// clients looks at whether this machine has room for all of them.
func (k *checklist) clients(c Config) {
	wanted := c.wantedClients()
	doors, all := strings.Join(slices.Sorted(maps.Keys(wanted)), ", "), sum(wanted)
	if most := descriptors(); all > 0 && all+descriptorsForOthers+c.pageConnections(most) > most {
		k.warn("raise LimitNOFILE= of the service, or lower max_clients",
			"%s: %d file descriptors do not suffice for %d clients", doors, most, all)
	}
	if need := int64(all) * memoryPerClient; need > int64(c.Gateway.Memory) {
		k.warn("raise gateway.memory, or lower max_clients",
			"%s: %d clients may take %d MiB, and gateway.memory is %s", doors, all, need>>20, c.Gateway.Memory)
	}
}

// memoryPerClient is what a client takes that is connected and says nothing, in
// bytes: two thirds of it are the stacks of its goroutines.
const memoryPerClient = 28 << 10
