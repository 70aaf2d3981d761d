package daemon

import (
	"fmt"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/serialin"
)

// settings implements surroundings.
func (d *Daemon) settings() Config { return d.current().cfg }

// gatewayID implements surroundings.
func (d *Daemon) gatewayID() string { return d.gateway }

// line implements surroundings.
func (d *Daemon) line(name string) *serialin.Source {
	source, _ := d.sourceOf(name).(*serialin.Source)
	return source
}

// runs implements surroundings.
func (d *Daemon) runs(name string) bool { return d.sourceOf(name) != nil }

func (d *Daemon) sourceOf(name string) ingest.Source {
	if door := d.current().door(name); door != nil {
		return door.source
	}
	return nil
}

// noGateway are the surroundings of a command that works at a port by itself.
type noGateway struct{ cfg Config }

func (n noGateway) settings() Config           { return n.cfg }
func (noGateway) gatewayID() string            { return "" }
func (noGateway) line(string) *serialin.Source { return nil }
func (noGateway) runs(string) bool             { return false }

// errNoLine means that there is no serial line of that name.
func errNoLine(name string) error {
	return fmt.Errorf("there is no serial line %q here — hint: \"tidegate status\" lists the doors", name)
}
