package dashboard

// Commands is the state of the way down, counts since the start.
type Commands struct {
	Accepted   uint64 `json:"accepted"`
	Delivered  uint64 `json:"delivered"`
	Refused    uint64 `json:"refused"`
	Expired    uint64 `json:"expired"`
	Duplicates uint64 `json:"duplicates"`
	// Remembered is how many ids are known. Untold answers found nobody to take them.
	Remembered int    `json:"remembered"`
	Untold     uint64 `json:"untold"`
	// What was decided last; LastAt is in Unix milliseconds, zero for never.
	LastID     string `json:"last_id"`
	LastState  string `json:"last_state"`
	LastReason string `json:"last_reason"`
	LastAt     int64  `json:"last_at"`
	// Couriers bring commands.
	Couriers []Courier `json:"couriers"`
}

// Courier is the state of one way that commands come.
type Courier struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Target is where it brings them from.
	Target string `json:"target"`
	// Up says whether commands can come, and Since when that began. About describes
	// the other side, LastError says why none can come.
	Up        bool   `json:"up"`
	Since     int64  `json:"since"`
	About     string `json:"about"`
	LastError string `json:"last_error"`
}
