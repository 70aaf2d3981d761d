package api

// SerialReport is what is known of a port, to be kept as a proof of how it was left.
type SerialReport struct {
	// Time is the gateway's, in RFC 3339; Clock says how far it is to be trusted.
	Time    string `json:"time"`
	Clock   string `json:"clock"`
	Gateway string `json:"gateway"`
	Version string `json:"version"`
	// Port is the port as it is now, or as it was last, which Gone says.
	Port SerialPort `json:"port"`
	Gone bool       `json:"gone,omitempty"`
	// Identity says it in words.
	Identity string `json:"identity,omitempty"`
	// Door is the door that reads it.
	Door *SerialReportDoor `json:"door,omitempty"`
	// Listened, Probed and Scanned are what was done there last.
	Listened *SerialReportListen `json:"listened,omitempty"`
	Probed   *SerialReportProbe  `json:"probed,omitempty"`
	Scanned  *SerialReportScan   `json:"scanned,omitempty"`
}

// SerialReportDoor is a door.
type SerialReportDoor struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Settings string `json:"settings"`
	Framing  string `json:"framing,omitempty"`
	Decoder  string `json:"decoder,omitempty"`
	// Line counts since the gateway started.
	Line *SerialCounts `json:"line,omitempty"`
	// Trouble is the last one.
	Trouble string `json:"trouble,omitempty"`
	// Readings are the last ones.
	Readings []SampleReading `json:"readings"`
}

// SerialReportListen is what was heard.
type SerialReportListen struct {
	At       string       `json:"at"`
	Settings string       `json:"settings"`
	Counts   SerialCounts `json:"counts"`
}

// SerialReportProbe is the best explanation that was found.
type SerialReportProbe struct {
	At   string          `json:"at"`
	Best SerialCandidate `json:"best"`
}

// SerialReportScan is who was found.
type SerialReportScan struct {
	At       string      `json:"at"`
	Settings string      `json:"settings"`
	Found    ModbusFound `json:"found"`
}
