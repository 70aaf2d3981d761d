package carrier

import "time"

// PathStats is the state of a Path.
type PathStats struct {
	// Present is the link in use, Since when.
	Present string
	Since   time.Time
	// Legs are the links, the best first.
	Legs []LegStats
}

// LegStats is how a link does on a Path.
type LegStats struct {
	Link string
	// Usable says that it is up and lets something pass; Why is a sentence if not.
	Usable bool
	Why    string
	// Failed is why it does not work, nil if it does or was not tried.
	Failed error
	// Conns are the connections over it.
	Conns int
}

// Stats returns the state of the Path.
func (p *Path) Stats() PathStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PathStats{Present: p.legs[p.present].link.Name(), Since: p.since}
	for i, g := range p.legs {
		leg := LegStats{Link: g.link.Name(), Usable: g.usable, Why: g.why, Failed: g.failed}
		for _, at := range p.conns {
			if at == i {
				leg.Conns++
			}
		}
		s.Legs = append(s.Legs, leg)
	}
	return s
}
