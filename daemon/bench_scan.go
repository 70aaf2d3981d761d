package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/modbusin"
)

// Scan implements api.SerialWork. A door that polls the bus must rest meanwhile: a bus
// has one master.
func (w *workbench) Scan(ctx context.Context, ask api.ModbusScan, tell func(api.ModbusScanned) error) error {
	at, scanning, err := w.scanning(ask)
	if err != nil {
		return err
	}
	ctx, _, done, err := w.alone(ctx, at, "scanning", ask.SerialPlace)
	if err != nil {
		return err
	}
	defer done()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	bus := w.busAt(at, scanning.URL)
	var told error
	say := func(s api.ModbusScanned) {
		if told == nil {
			if told = tell(s); told != nil {
				stop()
			}
		}
	}
	first := api.ModbusScanned{Phase: modbusin.ScanUnits, Of: int(scanning.Last) - int(scanning.First) + 1, Say: "asking unit " + fmt.Sprint(scanning.First)}
	if door := at.info.Door; door != "" && w.here.runs(door) {
		first.Paused, first.Say = door, door+" pauses meanwhile"
	}
	say(first)
	answered := 0
	scanning.Tell = func(s modbusin.ScanStep) {
		step := api.ModbusScanned{Phase: s.Phase, Unit: int(s.Unit), Done: s.Done, Of: s.Of}
		if s.Phase == modbusin.ScanUnits && s.Found != nil {
			answered++
		}
		step.Say = fmt.Sprintf("unit %d of %d, %s answered", s.Unit, scanning.Last, have(answered))
		if s.Phase == modbusin.ScanRegisters {
			step.Say = fmt.Sprintf("looking at unit %d", s.Unit)
		}
		if s.Found != nil {
			slave := scannedSlave(*s.Found, bus)
			step.Found = &slave
		}
		say(step)
	}
	scanned, err := modbusin.Scan(ctx, scanning)
	if told != nil {
		return told
	}
	if err != nil && (isEnd(err) || len(scanned.Slaves) == 0) {
		return ending(ctx, err)
	}
	found := w.scanFound(scanned, err, at, scanning, bus)
	w.remember(at.info, func(f *portFile) {
		f.scanned = &api.SerialReportScan{At: stamp(), Settings: at.config.String(), Found: found}
	})
	return tell(api.ModbusScanned{Result: &found})
}

// scanning returns what is asked for. A bus on a network is a port by its address.
func (w *workbench) scanning(ask api.ModbusScan) (workplace, modbusin.Scanning, error) {
	var err error
	if ask.Units != "" {
		if ask.First, ask.Last, err = parseRange(ask.Units); err != nil {
			return workplace{}, modbusin.Scanning{}, api.Invalid(fmt.Errorf("units: %w", err))
		}
	}
	s := modbusin.Scanning{
		First: byte(ask.First), Last: byte(ask.Last), From: uint16(ask.From), To: uint16(ask.To), Step: ask.Step,
		Timeout: time.Duration(ask.Timeout) * time.Millisecond, Limit: time.Duration(ask.Limit) * time.Second,
	}
	at, err := w.scanSite(ask)
	if err != nil {
		return at, s, err
	}
	s.URL, s.Serial = at.config.Path, at.config
	if !strings.Contains(s.URL, ":") || strings.HasPrefix(s.URL, "/") {
		s.URL = "rtu:" + s.URL
	}
	s.First, s.Last = cmp.Or(s.First, 1), cmp.Or(s.Last, 247)
	for _, name := range ask.Tables {
		table, ok := modbusin.ParseTable(name)
		if !ok {
			return at, s, api.Invalid(fmt.Errorf("%q is no table — hint: coil, discrete, input or holding", name))
		}
		s.Tables = append(s.Tables, table)
	}
	for _, n := range []int{ask.First, ask.Last} {
		if n < 0 || n > 255 {
			return at, s, api.Invalid(fmt.Errorf("unit %d — hint: 1 to 247", n))
		}
	}
	for _, n := range []int{ask.From, ask.To} {
		if n < 0 || n > 0xffff {
			return at, s, api.Invalid(fmt.Errorf("address %d — hint: addresses count from 0 to 65535; a number like 40001 out of a manual is address 0 of the holding registers", n))
		}
	}
	if err := s.Check(); err != nil {
		return at, s, api.Invalid(err)
	}
	return at, s, nil
}

// scanSite returns where a scan takes place.
func (w *workbench) scanSite(ask api.ModbusScan) (workplace, error) {
	for _, m := range w.here.settings().Ingest.Modbus {
		if ask.Door == m.doorName() && m.line().Port == "" {
			ask.Door, ask.URL = "", m.URL
			if ask.SerialSettings == (api.SerialSettings{}) {
				ask.Baud = m.Baud
			}
		}
	}
	if ask.URL == "" {
		return w.find(ask.SerialPlace, ask.SerialSettings)
	}
	kind, address, err := modbusin.ParseURL(ask.URL)
	switch {
	case err != nil:
		return workplace{}, api.Invalid(err)
	case ask.Port != "" || ask.Door != "":
		return workplace{}, api.Invalid(errors.New("both an url and a port — hint: give one of the two"))
	case kind == modbusin.RTU:
		ask.Port = address
		return w.find(ask.SerialPlace, ask.SerialSettings)
	}
	at := workplace{}
	at.info.Device, at.info.Configure = address, ask.URL
	settings, err := apart(ask.SerialSettings)
	if err != nil {
		return at, api.Invalid(err)
	}
	at.config.Path, at.config.Baud = ask.URL, settings.Baud
	for _, m := range w.here.settings().Ingest.Modbus {
		if _, other, err := modbusin.ParseURL(m.URL); err == nil && strings.EqualFold(other, address) {
			at.info.Door, at.kind = m.doorName(), "modbus"
		}
	}
	return at, nil
}

// busAt returns the bus that is configured there, nil if none is.
func (w *workbench) busAt(at workplace, url string) *Modbus {
	buses := w.here.settings().Ingest.Modbus
	i := slices.IndexFunc(buses, func(m Modbus) bool { return m.doorName() == at.info.Door })
	if i < 0 || at.info.Door == "" {
		return nil
	}
	return &buses[i]
}

// have is how many have done something.
func have(n int) string {
	if n == 1 {
		return "1 has"
	}
	return fmt.Sprintf("%d have", n)
}

func scannedSlave(s modbusin.ScannedSlave, bus *Modbus) api.ModbusSlave {
	out := api.ModbusSlave{Unit: int(s.Unit), Took: int(s.Took.Milliseconds()), Damaged: s.Damaged, Partial: s.Partial, Evidence: []string{}}
	for _, r := range s.Runs {
		run := api.ModbusRun{Table: r.Table.String(), First: int(r.First), Last: int(r.Last), Values: r.Values}
		out.Runs = append(out.Runs, run)
		out.Evidence = append(out.Evidence, fmt.Sprintf("%s %d to %d: %s", run.Table, run.First, run.Last, strings.Trim(fmt.Sprint(run.Values), "[]")))
	}
	if s.Partial != "" {
		out.Evidence = append(out.Evidence, s.Partial)
	}
	if bus != nil {
		for _, known := range bus.Slaves {
			if known.Unit == out.Unit {
				out.Device = known.Device
			}
		}
	}
	out.Title = fmt.Sprintf("unit %d, %d ms", out.Unit, out.Took)
	if out.Device != "" {
		out.Title += ", configured as " + out.Device
	}
	return out
}

// scanFound puts what was found into words.
func (w *workbench) scanFound(s modbusin.Scanned, broke error, at workplace, scanning modbusin.Scanning, bus *Modbus) api.ModbusFound {
	found := api.ModbusFound{Found: []api.ModbusSlave{}, Asked: s.Asked, Advice: scanAdvice(s, scanning)}
	for _, slave := range s.Slaves {
		found.Found = append(found.Found, scannedSlave(slave, bus))
	}
	if broke != nil {
		found.Advice = append(found.Advice, "not all was looked at: "+broke.Error())
	}
	if s.Alike {
		found.Found = found.Found[:1]
	}
	found.TOML = w.busProposal(found.Found, at, scanning.URL, bus)
	return found
}

// scanAdvice says what was found means.
func scanAdvice(s modbusin.Scanned, scanning modbusin.Scanning) []string {
	all := []string{}
	if s.Unfinished != "" {
		all = append(all, "not all was looked at: "+s.Unfinished)
	}
	if s.Alike {
		all = append(all, fmt.Sprintf("all %d units answer: it is one device, which does not look at the unit — hint: write the unit of its manual", len(s.Slaves)))
	}
	for _, slave := range s.Slaves {
		if slave.Damaged {
			all = append(all, fmt.Sprintf("unit %d answers, and the checksum is wrong each time — hint: do two devices have this address? Else look at termination, shield and parity", slave.Unit))
		}
	}
	switch {
	case len(s.Noise) > 0:
		all = append(all, fmt.Sprintf("at %s something came that is no answer — hint: is the speed or the parity another? Do two devices have one address?", units(s.Noise)))
	case len(s.Slaves) == 0 && s.Unfinished == "" && strings.HasPrefix(scanning.URL, "rtu"):
		all = append(all, "nobody answers — hint: try another speed or parity; are A and B the other way round? Has the device power, and Modbus turned on?")
	case len(s.Slaves) == 0 && s.Unfinished == "":
		all = append(all, "nobody answers — hint: look up the units in the manual; has the gateway a bus behind it?")
	}
	return all
}

func units(all []byte) string {
	const shown = 8
	var words []string
	for _, u := range all[:min(len(all), shown)] {
		words = append(words, fmt.Sprint(u))
	}
	text := "unit " + strings.Join(words, ", ")
	if len(all) > shown {
		text += fmt.Sprintf(" and %d more", len(all)-shown)
	}
	return text
}
