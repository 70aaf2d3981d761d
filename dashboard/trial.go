package dashboard

// Trial is a configuration that is undone unless somebody keeps it in time.
type Trial struct {
	// Revision is which one.
	Revision string `json:"revision"`
	// Ends is when it is undone.
	Ends int64 `json:"ends"`
}
