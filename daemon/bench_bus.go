package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/modbusin"
	"github.com/tidegate/tidegate/internal/serialport"
)

// What is proposed to be read of a slave: the first registers of each run, which the
// manual gives names to.
const (
	proposedOfRun = 8
	proposedOfAll = 32
)

// busProposal returns the blocks of the configuration that read the slaves: a map for
// each kind of slave, and the bus. What the bus has already is left out.
func (w *workbench) busProposal(slaves []api.ModbusSlave, at workplace, url string, bus *Modbus) string {
	var maps, rows, silent strings.Builder
	named := make(map[string]string) // by what a slave answers for, the name of its map
	for _, s := range slaves {
		if s.Device != "" {
			continue
		}
		if len(s.Runs) == 0 {
			fmt.Fprintf(&silent, "# unit %d answers, and has none of the registers that were asked for: see its manual\n", s.Unit)
			continue
		}
		kind := describeRuns(s.Runs)
		if named[kind] == "" {
			named[kind] = w.freeMap(fmt.Sprintf("unit-%d", s.Unit))
			writeMap(&maps, named[kind], kind, s.Runs)
		}
		fmt.Fprintf(&rows, "\n[[ingest.modbus.slave]]\nunit = %d\ndevice = \"unit-%d\"\nmap = %q\n", s.Unit, s.Unit, named[kind])
	}
	if rows.Len() == 0 {
		return silent.String()
	}
	var b strings.Builder
	if bus != nil {
		where := "the slaves belong below the bus %s, behind those that it has"
		if buses := w.here.settings().Ingest.Modbus; buses[len(buses)-1].Name == bus.Name {
			where = "at the end of the file, they are slaves of the bus %s"
		}
		fmt.Fprintf(&b, "# "+where+"\n%s%s\n%s", bus.Name, silent.String(), strings.TrimPrefix(rows.String(), "\n"), strings.TrimSuffix(maps.String(), "\n"))
		return b.String()
	}
	b.WriteString(maps.String())
	kind, address, _ := modbusin.ParseURL(url) // that was scanned
	if kind == modbusin.RTU {
		address = w.lasting(at)
		url = "rtu:" + address
	}
	fmt.Fprintf(&b, "[[ingest.modbus]]\nname = %q\nurl = %q\n", nameFor(address), url)
	if c := at.config; kind == modbusin.RTU {
		c = c.WithDefaults()
		fmt.Fprintf(&b, "baud = %d\n", c.Baud)
		if c.DataBits != 8 {
			fmt.Fprintf(&b, "data_bits = %d\n", c.DataBits)
		}
		if c.Parity != serialport.None {
			fmt.Fprintf(&b, "parity = %q\n", c.Parity)
		}
		if c.StopBits != 1 {
			fmt.Fprintf(&b, "stop_bits = %d\n", c.StopBits)
		}
	}
	return b.String() + silent.String() + rows.String()
}

// freeMap returns a name that no map has.
func (w *workbench) freeMap(name string) string {
	maps := w.here.settings().Modbus.Maps
	for free, n := name, 2; ; n++ {
		if !slices.ContainsFunc(maps, func(m ModbusMap) bool { return m.Name == free }) {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}

// describeRuns says it in a few words: "holding 0-49, input 0-9".
func describeRuns(runs []api.ModbusRun) string {
	var all []string
	for _, r := range runs {
		all = append(all, fmt.Sprintf("%s %d-%d", r.Table, r.First, r.Last))
	}
	return strings.Join(all, ", ")
}

func writeMap(b *strings.Builder, name, kind string, runs []api.ModbusRun) {
	fmt.Fprintf(b, "[[modbus.map]]\nname = %q\n# answers for %s\n# give those that matter the names, types and units of the manual\n\n", name, kind)
	left := proposedOfAll
	for _, r := range runs {
		n := min(r.Last-r.First+1, proposedOfRun, left)
		left -= n
		for i := range n {
			fmt.Fprintf(b, "[[modbus.map.register]]\nmetric = \"%s-%d\"\n", r.Table, r.First+i)
			if r.Table != "holding" {
				fmt.Fprintf(b, "table = %q\n", r.Table)
			}
			fmt.Fprintf(b, "address = %d\n", r.First+i)
			if i < len(r.Values) {
				fmt.Fprintf(b, "# it was %d\n", r.Values[i])
			}
			b.WriteString("\n")
		}
	}
}
