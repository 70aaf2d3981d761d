package dashboard

// Carrier is the state of a way to the network. Bytes are those on the wire, as
// an operator counts them.
type Carrier struct {
	Name string `json:"name"`
	// State is OK, or a sentence that says why nothing, or not all, may pass.
	State string `json:"state"`
	// Lanes may travel now.
	Lanes []string `json:"lanes"`
	// Connections are open; Sent and Received count since the start.
	Connections int   `json:"connections"`
	Sent        int64 `json:"sent"`
	Received    int64 `json:"received"`
	// Estimated says that part of that could not be counted with the kernel.
	Estimated bool `json:"estimated,omitempty"`
	// Problem says why what was counted is not kept; absent if it is.
	Problem string `json:"problem,omitempty"`
	// Today and Month are what was used of the budgets.
	Today Usage `json:"today"`
	Month Usage `json:"month"`
	// Speed is how many bytes a second it takes, zero if that is not known yet.
	Speed int64 `json:"speed,omitempty"`
	// Left is what the tighter budget, Of bytes, still allows until Renews; it is spent
	// at Lasts if the link goes on being used as it was, zero if it lasts.
	Left   int64 `json:"left,omitempty"`
	Of     int64 `json:"of,omitempty"`
	Renews int64 `json:"renews,omitempty"`
	Lasts  int64 `json:"lasts,omitempty"`
	// Window is when the schedule closes, or opens if it is closed; zero without a
	// schedule.
	Window int64 `json:"window,omitempty"`
}

// Usage is what has passed in a day or a month: Sent and Received as they were,
// Used as the operator rounds it. Budget is what may be used, zero for any amount.
type Usage struct {
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	Used     int64 `json:"used"`
	Budget   int64 `json:"budget,omitempty"`
}

// Over is how a door out reaches the network.
type Over struct {
	// Carrier is the way in use, Since when.
	Carrier string `json:"carrier"`
	Since   int64  `json:"since"`
	// Passed says why better ways are not used, a sentence each.
	Passed []string `json:"passed,omitempty"`
	// Needs is about how many bytes on the wire deliver what waits, and Drained when
	// that is done, schedule and budget considered; zero if that is not known.
	Needs   int64 `json:"needs"`
	Drained int64 `json:"drained"`
}
