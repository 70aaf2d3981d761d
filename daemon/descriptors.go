package daemon

import (
	"log/slog"
	"syscall"
)

// descriptorsForOthers is how many file descriptors the clients of a broker leave
// to the rest of the gateway: a journal that cannot open its next segment takes no
// readings, however many clients are connected.
const descriptorsForOthers = 64

// clientsWithin is how many of the wanted clients the file descriptors of this
// process allow.
func clientsWithin(wanted int, log *slog.Logger) int {
	allowed := descriptors() - descriptorsForOthers
	if wanted <= allowed {
		return wanted
	}
	log.Warn("file descriptors do not suffice for max_clients — hint: raise LimitNOFILE= of the service",
		"max_clients", wanted, "allowed", allowed)
	return max(allowed, 1)
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
func (k *checklist) clients(m MQTT, g Gateway) {
	if m.Listen == "" {
		return
	}
	if most := descriptors(); m.MaxClients+descriptorsForOthers > most {
		k.warn("raise LimitNOFILE= of the service, or lower max_clients",
			"ingest.mqtt: %d file descriptors do not suffice for %d clients", most, m.MaxClients)
	}
	if need := int64(m.MaxClients) * memoryPerClient; need > int64(g.Memory) {
		k.warn("raise gateway.memory, or lower max_clients",
			"ingest.mqtt: %d clients may take %d MiB, and gateway.memory is %s", m.MaxClients, need>>20, g.Memory)
	}
}

// memoryPerClient is what a client takes that is connected and says nothing, in
// bytes: two thirds of it are the stacks of its goroutines.
const memoryPerClient = 28 << 10
