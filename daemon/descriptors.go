package daemon

import (
	"log/slog"
	"syscall"
)

// descriptorsForOthers is how many file descriptors the clients of all doors leave
// to the rest of the gateway: a journal that cannot open its next segment takes no
// readings, however many clients are connected.
const descriptorsForOthers = 64

// wantedClients is how many clients the doors want that give each a file
// descriptor of its own.
func (c Config) wantedClients() (mqtt, http int) {
	if c.Ingest.MQTT.Listen != "" {
		mqtt = c.Ingest.MQTT.MaxClients
	}
	if c.Ingest.HTTP.Listen != "" {
		http = c.Ingest.HTTP.MaxClients
	}
	return mqtt, http
}

// clientsWithin is how many of them so many file descriptors allow: all, or a
// share for each door.
func (c Config) clientsWithin(descriptors int) (mqtt, http int) {
	mqtt, http = c.wantedClients()
	allowed := descriptors - descriptorsForOthers
	if mqtt+http <= allowed {
		return mqtt, http
	}
	share := func(wanted int) int { return max(1, int(int64(wanted)*int64(allowed)/int64(mqtt+http))) }
	return share(mqtt), share(http)
}

// tellClients tells whoever runs the gateway that some clients will find no room.
func (c Config) tellClients(log *slog.Logger) {
	mqtt, http := c.wantedClients()
	if m, h := c.clientsWithin(descriptors()); m < mqtt || h < http {
		log.Warn("file descriptors do not suffice for max_clients — hint: raise LimitNOFILE= of the service",
			"mqtt", mqtt, "mqtt_allowed", m, "http", http, "http_allowed", h)
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
	mqtt, http := c.wantedClients()
	table := "ingest.mqtt"
	switch {
	case mqtt == 0:
		table = "ingest.http"
	case http > 0:
		table += " and ingest.http"
	}
	if most := descriptors(); mqtt+http > 0 && mqtt+http+descriptorsForOthers > most {
		k.warn("raise LimitNOFILE= of the service, or lower max_clients",
			"%s: %d file descriptors do not suffice for %d clients", table, most, mqtt+http)
	}
	if need := int64(mqtt+http) * memoryPerClient; need > int64(c.Gateway.Memory) {
		k.warn("raise gateway.memory, or lower max_clients",
			"%s: %d clients may take %d MiB, and gateway.memory is %s", table, mqtt+http, need>>20, c.Gateway.Memory)
	}
}

// memoryPerClient is what a client takes that is connected and says nothing, in
// bytes: two thirds of it are the stacks of its goroutines.
const memoryPerClient = 28 << 10
