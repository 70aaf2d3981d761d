package dashboard

// Line is the state of a serial line. Counts are since the start.
type Line struct {
	// Device is the device file behind the configured name, and Identity what
	// device that is.
	Device   string `json:"device"`
	Identity string `json:"identity"`
	// Frames came whole; LastFrame is when the last one did.
	Frames    uint64 `json:"frames"`
	LastFrame int64  `json:"last_frame"`
	// Backlog is how many bytes wait in memory for the disk.
	Backlog int `json:"backlog"`
	// Trouble is the last error, and TroubleAt when it was.
	Trouble   string `json:"trouble,omitempty"`
	TroubleAt int64  `json:"trouble_at,omitempty"`
	// Polls were sent, and Confirmed frames acknowledged to the device.
	Polls     uint64 `json:"polls,omitempty"`
	Confirmed uint64 `json:"confirmed,omitempty"`

	// The rest should be zero.

	// Timeouts of polls; Unasked frames that answered none.
	Timeouts uint64 `json:"timeouts,omitempty"`
	Unasked  uint64 `json:"unasked,omitempty"`
	// Gone is how often the device went away.
	Gone uint64 `json:"gone,omitempty"`
	// BadChecksum, Broken, TooLong and Partial frames were not taken, nor were
	// Damaged ones, with bytes in them that the driver had marked or lost.
	// Garbage are the bytes of all that and of noise.
	BadChecksum uint64 `json:"bad_checksum,omitempty"`
	Broken      uint64 `json:"broken,omitempty"`
	TooLong     uint64 `json:"too_long,omitempty"`
	Partial     uint64 `json:"partial,omitempty"`
	Damaged     uint64 `json:"damaged,omitempty"`
	Garbage     uint64 `json:"garbage,omitempty"`
	// DamagedBytes were marked by the driver. It counts them by kind as
	// ParityErrors, FrameErrors (no stop bit) and Breaks, or not at all.
	DamagedBytes uint64 `json:"damaged_bytes,omitempty"`
	ParityErrors uint64 `json:"parity_errors,omitempty"`
	FrameErrors  uint64 `json:"frame_errors,omitempty"`
	Breaks       uint64 `json:"breaks,omitempty"`
	// Overruns are bytes that the chip or the kernel lost; Abandoned ones were
	// not taken by the device.
	Overruns  uint64 `json:"overruns,omitempty"`
	Abandoned uint64 `json:"abandoned,omitempty"`
}
