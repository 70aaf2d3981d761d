package frame

// gapped takes what comes between two silences for a frame.
type gapped struct {
	seal seal
	max  int
	// skipping says that what has come since the last silence is too long.
	skipping bool
}

func newGapped(c Config) *gapped { return &gapped{seal: c.sealOf(), max: c.MaxFrame} }

func (g *gapped) reset() { g.skipping = false }

func (g *gapped) cut(window []byte, silent bool) cut {
	lost := cut{fate: filling, size: len(window), garbage: len(window)}
	switch {
	case g.skipping:
		return lost
	case len(window) > g.max+g.seal.size:
		g.skipping = true
		lost.fate = tooLong
		return lost
	case !silent:
		return cut{}
	}
	payload, ok := g.seal.open(window)
	switch {
	case !ok:
		lost.fate = badSum
		return lost
	case len(payload) == 0:
		return cut{fate: filling, size: len(window)}
	}
	return cut{fate: whole, size: len(window), frame: payload}
}
