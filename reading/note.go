package reading

// Note is something that a door remembers across restarts beside its readings:
// a session, a subscription, a packet identifier. Notes never leave the gateway.
type Note struct {
	// Key names it among the notes of all doors, so it begins with the door's
	// name and a slash. At most MaxNoteKey bytes. A note without a key asks custody
	// for proof that it commits: the receipt resolves when it could, and nothing is
	// kept.
	Key string
	// Value replaces what was noted under the key before; nil forgets it. At
	// most MaxNoteValue bytes.
	Value []byte
}

// The bounds of a Note. How many notes there are is for their door to bound.
const (
	MaxNoteKey   = 1 << 10
	MaxNoteValue = 1 << 20
)
