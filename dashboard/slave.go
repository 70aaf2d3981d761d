package dashboard

// Slave is the state of one device that is polled.
type Slave struct {
	// Unit is its address on the bus, Device its name in readings.
	Unit   int    `json:"unit"`
	Device string `json:"device"`
	// State is up, down, or unknown before it was asked.
	State LinkState `json:"state"`
	// LastAnswer is when it answered last.
	LastAnswer int64 `json:"last_answer"`
	// Polls were finished. Skipped ones had no time, because the bus is too
	// slow for them. Failed requests brought nothing in the end.
	Polls   uint64 `json:"polls"`
	Skipped uint64 `json:"skipped,omitempty"`
	Failed  uint64 `json:"failed,omitempty"`
	// BadRegisters are left out, because the slave does not have them.
	BadRegisters int `json:"bad_registers,omitempty"`
	// Errors count by kind, in words: "no answer", "device busy". A retry may
	// have mended them.
	Errors map[string]uint64 `json:"errors,omitempty"`
}

// LinkUnknown is the state of a slave that was not asked yet.
const LinkUnknown LinkState = "unknown"
