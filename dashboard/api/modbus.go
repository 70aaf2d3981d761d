package api

// ModbusScan asks who is on a Modbus bus. Nothing is written to anybody.
type ModbusScan struct {
	SerialPlace
	SerialSettings
	// URL says where the bus is, instead of a port or a door: tcp://192.0.2.7:502, or
	// rtu+tcp://192.0.2.7:4001.
	URL string `json:"url,omitempty"`
	// Units are those that are asked: "1-247", which is the default, or "7"; or First
	// to Last are.
	Units string `json:"units,omitempty"`
	First int    `json:"first,omitempty"`
	Last  int    `json:"last,omitempty"`
	// Tables are looked at: coil, discrete, input, holding; holding and input by
	// default. Units are asked for an element of the first.
	Tables []string `json:"tables,omitempty"`
	// From to To are the addresses that are looked at, counted from 0; 0 to 999 by
	// default. Step is every how many; 10 by default.
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
	Step int `json:"step,omitempty"`
	// Timeout is how long a unit may take to answer, in milliseconds; 200 by default,
	// 400 over a network. Limit is how long all may take, in seconds; 300 by default.
	Timeout int `json:"timeout_ms,omitempty"`
	Limit   int `json:"limit_s,omitempty"`
}

// ModbusScanned is how far a scan has got, or, in the last line, the Result.
type ModbusScanned struct {
	// Say is this in words.
	Say string `json:"say"`
	// Phase is units, or registers.
	Phase string `json:"phase,omitempty"`
	// Unit was asked last: the one that is Done Of all.
	Unit int `json:"unit"`
	Done int `json:"done"`
	Of   int `json:"of"`
	// Found is the slave that was found, or looked at.
	Found *ModbusSlave `json:"found,omitempty"`
	// Paused is the door that rests meanwhile; in the first line only.
	Paused string `json:"paused,omitempty"`
	// Result is what was found.
	Result *ModbusFound `json:"result,omitempty"`
}

// ModbusFound is what a scan has found.
type ModbusFound struct {
	// Found are the slaves that have answered.
	Found []ModbusSlave `json:"found"`
	// Asked units.
	Asked int `json:"asked"`
	// Advice says what it means: "… — hint: …"; there may be none.
	Advice []string `json:"advice"`
	// TOML is the block of the configuration that reads them; "" if there is none.
	TOML string `json:"toml"`
}

// ModbusSlave is a unit that has answered.
type ModbusSlave struct {
	// Title and Evidence say it in words.
	Title    string   `json:"title"`
	Evidence []string `json:"evidence"`
	Unit     int      `json:"unit"`
	// Took is how long its first answer took, in milliseconds.
	Took int `json:"took_ms"`
	// Damaged says that nothing came of it but frames with a wrong checksum.
	Damaged bool `json:"damaged,omitempty"`
	// Device is the one that is configured for it.
	Device string `json:"device,omitempty"`
	// Runs are the addresses that it answers for.
	Runs []ModbusRun `json:"runs,omitempty"`
	// Partial says why not all addresses were looked at.
	Partial string `json:"partial,omitempty"`
}

// ModbusRun is a run of addresses that are answered for.
type ModbusRun struct {
	Table string `json:"table"`
	First int    `json:"first"`
	Last  int    `json:"last"`
	// Values are those of the first addresses.
	Values []uint16 `json:"values"`
}
