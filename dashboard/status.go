package dashboard

// Status is the state of the whole gateway at one instant. The daemon builds
// it; the page and GET /api/v1/status show it. Times are Unix milliseconds, and
// zero means never.
type Status struct {
	// Gateway is the gateway's id, Version the program's.
	Gateway string `json:"gateway"`
	Version string `json:"version"`
	// Started tells one run of the gateway from the next.
	Started int64 `json:"started"`
	// Now is the gateway's clock; the page computes ages against it, because a
	// phone's clock may differ.
	Now int64 `json:"now"`
	// Clock is the state of that clock in words: "synced", "unsynced".
	Clock string `json:"clock"`
	// ClockSince is when that changed; zero if it has been so all the time. ClockSet
	// is nil unless the clock was set in this run.
	ClockSince int64     `json:"clock_since,omitempty"`
	ClockSet   *ClockSet `json:"clock_set,omitempty"`
	// Host is what the gateway runs on.
	Host Host `json:"host"`

	Buffer Buffer `json:"buffer"`
	Links  []Link `json:"links"`
	// Network are the ways that the links go.
	Network []Carrier `json:"network"`
	Doors   []Door    `json:"doors"`
	// Refined is what happened to readings before they were stored; nil if the
	// configuration wants nothing of the kind.
	Refined *Refined `json:"refined,omitempty"`
	// Commands is the way down; nil if the configuration allows none.
	Commands *Commands `json:"commands,omitempty"`
	// Itself is what the gateway shows of itself among the devices; nil for nothing.
	Itself *Itself `json:"itself,omitempty"`
	// Access is who may do what with the gateway; nil while the dashboard is off.
	Access *Gatehouse `json:"access,omitempty"`
	// Certificates are those out of files that the gateway shows to others; none without.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Revision is that of the configuration that runs.
	Revision string `json:"revision"`
	// Trial is not nil while that is on trial.
	Trial *Trial `json:"trial,omitempty"`
	// Identify is by what the gateway shows which one it is, a command or an led; empty
	// if it cannot.
	Identify string `json:"identify,omitempty"`
	// Problems are sentences for people, each with a hint, most urgent first.
	Problems []string `json:"problems"`
}

// Certificate is one that is shown where the name says, "ingest.mqtt" or "uplink cloud",
// and between which times it is valid.
type Certificate struct {
	Where     string `json:"where"`
	NotBefore int64  `json:"not_before"`
	NotAfter  int64  `json:"not_after"`
}

// ClockSet says that the clock was set: how many Times since the start, when it was
// noticed the Last time, and by how many Seconds then; negative is back.
type ClockSet struct {
	Times   int     `json:"times"`
	Last    int64   `json:"last"`
	Seconds float64 `json:"seconds"`
}

// Host is what the gateway runs on.
type Host struct {
	// Go made the program ("go1.26.8"), System is what for ("linux/arm64"), and
	// Kernel is what runs ("Linux 6.1.0-18-arm64").
	Go     string `json:"go"`
	System string `json:"system"`
	Kernel string `json:"kernel"`
	// Booted is when the machine was started.
	Booted int64 `json:"booted"`
}

// Itself is the gateway among the devices.
type Itself struct {
	// Device is its name there. Kept says that its readings are stored and sent as
	// those of others are; else they are shown, and counted nowhere.
	Device string `json:"device"`
	Kept   bool   `json:"kept"`
}

// Gatehouse is the state of what lets people and programs in.
type Gatehouse struct {
	// SetUp says that there is an operator.
	SetUp bool `json:"set_up"`
	// TLS says that the page is reached in secret.
	TLS bool `json:"tls"`
	// Sessions and Tokens are valid now.
	Sessions int `json:"sessions"`
	Tokens   int `json:"tokens"`
	// Events counts, since the start, what is about security: signed_in,
	// wrong_password, denied and so on. Each is there, with 0 as well.
	Events map[string]uint64 `json:"events"`
}

// OK is the State of a buffer and of a door in which nothing is wrong.
const OK = "ok"

// Buffer is the state of what is on flash.
type Buffer struct {
	// State is OK, or a sentence that says what is wrong. Any other state than
	// OK means that the gateway cannot take custody as it should.
	State string `json:"state"`
	// Waiting readings are on flash and not yet acknowledged by every link.
	Waiting uint64 `json:"waiting"`
	// OldestUnsent is the time of the oldest waiting reading.
	OldestUnsent int64 `json:"oldest_unsent"`
	// BytesUsed and BytesMax are the size of the buffer and its bound.
	BytesUsed int64 `json:"bytes_used"`
	BytesMax  int64 `json:"bytes_max"`
	// DiskFree of DiskSize bytes of the file system are free for the gateway; zero
	// when that is not known.
	DiskFree int64 `json:"disk_free"`
	DiskSize int64 `json:"disk_size"`
	// Evicted readings were lost to the bound, since the start; Lost were declared
	// lost for whatever reason, and LostBy says so by reason.
	Evicted uint64            `json:"evicted"`
	Lost    uint64            `json:"lost"`
	LostBy  map[string]uint64 `json:"lost_by,omitempty"`
	// FlashWritten is the number of bytes written to flash and Commits the
	// number of syncs, since the start.
	FlashWritten uint64 `json:"flash_written"`
	Commits      uint64 `json:"commits"`
	// FlashDay is what was written in the last 24 hours, since the start at
	// most, and FlashBudget what may be; 0 means without limit.
	FlashDay    uint64 `json:"flash_day"`
	FlashBudget int64  `json:"flash_budget"`
	// FlashTokens is how many bytes of the budget commits may write at once;
	// below zero they wait.
	FlashTokens int64 `json:"flash_tokens"`
	// Life is how long the medium lasts at this rate, with the assumption that
	// is made; empty when that is not known.
	Life string `json:"life"`
	// Losses are the last declared losses, the newest first.
	Losses []Loss `json:"losses"`
	// Refused blocks were refused by an uplink for good, and are set aside.
	Refused int `json:"refused"`
	// Wear is what the medium tells of its own life ("10 to 20 % worn"); empty
	// when it tells nothing.
	Wear string `json:"wear"`
	// Profile is the configured wear profile: speed, balanced or gentle.
	Profile string `json:"profile"`
	// OverBudget says that acknowledgements could not wait for the wear
	// budget, so flash is worn faster than configured.
	OverBudget bool `json:"over_budget"`
}

// Loss is a number of readings that will not arrive.
type Loss struct {
	Lane   string `json:"lane"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
	// From and To are when they were measured, 0 when that is not known.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Links are the doors out that did not have them; none stands for all.
	Links []string `json:"links"`
}

// LinkState says whether a door out gets its messages acknowledged.
type LinkState string

// The states of a link. An idle link has had nothing to send and no failure; one
// that is held has, and may not send it yet.
const (
	LinkUp   LinkState = "up"
	LinkDown LinkState = "down"
	LinkIdle LinkState = "idle"
	LinkHeld LinkState = "held"
)

// Link is the state of one door out.
type Link struct {
	Name  string    `json:"name"`
	State LinkState `json:"state"`
	// Since is when State began; zero when that is not known.
	Since     int64  `json:"since"`
	LastError string `json:"last_error"`
	// Waiting readings are on flash and not yet acknowledged by this link; Oldest is
	// the time of the oldest of them.
	Waiting uint64 `json:"waiting"`
	Oldest  int64  `json:"oldest,omitempty"`
	LastAck int64  `json:"last_ack"`
	// Acked readings and SentBytes count since the start.
	Acked     uint64 `json:"acked"`
	SentBytes uint64 `json:"sent_bytes"`
	// Messages were sent, Retries of them once more or yet to be, since the start.
	Messages uint64 `json:"messages"`
	Retries  uint64 `json:"retries,omitempty"`
	// SetAside readings were refused for good, since the start.
	SetAside uint64 `json:"set_aside,omitempty"`
	// InFlight messages are sent and not yet acknowledged.
	InFlight int `json:"in_flight"`
	// LeftOut readings had no representation in the encoding. They count as acked.
	LeftOut uint64 `json:"left_out,omitempty"`
	Kind    string `json:"kind"`
	// Target is where it delivers to: a URL, without secrets.
	Target string `json:"target"`
	// Over is how it reaches the network.
	Over Over `json:"over"`
}

// Door is the state of one door in.
type Door struct {
	Name string `json:"name"`
	// State is OK, or a sentence that says what is wrong.
	State string `json:"state"`
	// Since is when it was started, or broke. It broke so many times (Breaks) and
	// was started again, for the last time (BrokeAt) because of LastError.
	Since     int64  `json:"since,omitempty"`
	Breaks    uint64 `json:"breaks,omitempty"`
	BrokeAt   int64  `json:"broke_at,omitempty"`
	LastError string `json:"last_error,omitempty"`
	// Remarks put into words what follows and is not zero, and the errors of a line.
	Remarks []string `json:"remarks,omitempty"`
	// Readings were taken; Rejected payloads could not be decoded; Opaque ones
	// could not either and were kept as they are. All since the start.
	Readings uint64 `json:"readings"`
	Rejected uint64 `json:"rejected"`
	Opaque   uint64 `json:"opaque"`
	// Clients are connected now.
	Clients int `json:"clients"`
	// Kind is the kind of its transport: mqtt, serial, http, line.
	Kind string `json:"kind"`
	// Address is what it listens on ("127.0.0.1:1883") or reads from
	// ("/dev/ttyUSB0").
	Address string `json:"address"`
	// Line is how a serial line is, nil for other doors.
	Line *Line `json:"line,omitempty"`

	// What follows should be zero, counts since the start, and is not in the
	// JSON while it is zero.

	// BadLogins were refused a connection; Denied publishes and subscriptions
	// were against the rules.
	BadLogins uint64 `json:"bad_logins,omitempty"`
	Denied    uint64 `json:"denied,omitempty"`
	// TurnedAway connections were too many; Malformed ones were closed because
	// the peer broke the protocol.
	TurnedAway uint64 `json:"turned_away,omitempty"`
	Malformed  uint64 `json:"malformed,omitempty"`
	// TooLarge requests were more than is taken at once.
	TooLarge uint64 `json:"too_large,omitempty"`
	// NotStored messages were not acknowledged, because they could not be kept.
	NotStored uint64 `json:"not_stored,omitempty"`
	// Undelivered messages did not reach a local subscriber. They are kept all
	// the same.
	Undelivered uint64 `json:"undelivered,omitempty"`
	// NotRetained messages found no room; Oversubscribed filters were too many;
	// Forgotten sessions made room for others. Slowed is how often a client had
	// to wait because it sent faster than it may.
	NotRetained    uint64 `json:"not_retained,omitempty"`
	Oversubscribed uint64 `json:"oversubscribed,omitempty"`
	Forgotten      uint64 `json:"forgotten,omitempty"`
	Slowed         uint64 `json:"slowed,omitempty"`
	// Overflowed datagrams came faster than they were read, and are lost.
	// Repeated ones were requests that came again, because their answers were
	// late or lost.
	Overflowed uint64 `json:"overflowed,omitempty"`
	Repeated   uint64 `json:"repeated,omitempty"`

	// LateAnswers of slaves came when they were not waited for any more;
	// StrayBytes on a serial line belonged to nothing that was asked.
	LateAnswers uint64 `json:"late_answers,omitempty"`
	StrayBytes  uint64 `json:"stray_bytes,omitempty"`
	// Slaves are those that the door asks; other doors have none.
	Slaves []Slave `json:"slaves,omitempty"`
	// Damaged frames of connections and datagrams were cut off, too long, or
	// failed their checksum.
	Damaged uint64 `json:"damaged,omitempty"`
}

// Refined counts, since the start, the readings of all doors that went through a
// [[refine]].
type Refined struct {
	// Kept readings were stored. Those after it were left out, by reason.
	Kept       uint64 `json:"kept"`
	Unchanged  uint64 `json:"unchanged"`
	TooSoon    uint64 `json:"too_soon"`
	OutOfRange uint64 `json:"out_of_range"`
	Dropped    uint64 `json:"dropped"`
	// Clamped and MarkedBad readings were out of range, and kept; Late ones were
	// kept for being older than others.
	Clamped   uint64 `json:"clamped"`
	MarkedBad uint64 `json:"marked_bad"`
	Late      uint64 `json:"late"`
	// Alarms were Raised and Cleared.
	Raised  uint64 `json:"alarms_raised"`
	Cleared uint64 `json:"alarms_cleared"`
	// SetBack is how often the clock of a series was set back.
	SetBack uint64 `json:"set_back"`
	// Series are remembered. Untracked readings were of those beyond the bound,
	// and passed unfiltered.
	Series    int    `json:"series"`
	Untracked uint64 `json:"untracked"`
}
