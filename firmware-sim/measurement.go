package firmwaresim

import "time"

// Measurement is one sample of a Device in numbers, for payloads that are no
// text.
type Measurement struct {
	// Seq is the device's counter.
	Seq uint64
	// At is when it was measured, by the device's clock.
	At time.Time
	// Temp is in 0.01 Cel, Hum in 0.1 %RH, Bat in 0.01 V, RSSI in dBm, Pressure
	// in Pa, Lux in lx.
	Temp, Hum, Bat, RSSI, Pressure, Lux int64
	// Open says that the door is.
	Open bool
}

// Afflict gives a device the faults that are its own, Stuck and Clock1970. The
// seed and index are those of the Faults' Stream.
func (d *Device) Afflict(f Faults, seed uint64, index int) {
	d.sticks, d.reset = f.Stuck, f.Clock1970
	if f.Stuck > 0 {
		d.sticky = f.random(seed, index, kindStuck)
	}
}

// Measure takes the next sample, at the given time.
func (d *Device) Measure(at time.Time) Measurement {
	d.step()
	return Measurement{
		Seq: d.seq, At: d.clock(at), Temp: d.temp, Hum: d.hum, Bat: d.bat, RSSI: d.rssi,
		Pressure: d.pressure, Lux: d.lux, Open: d.open,
	}
}

// countFrom makes the next sample carry the given counter.
func (d *Device) countFrom(seq uint64) { d.seq = seq - 1 }

// clock returns what the device takes the time for.
func (d *Device) clock(at time.Time) time.Time {
	if !d.reset {
		return at
	}
	if d.born.IsZero() {
		d.born = at
	}
	return time.Unix(0, 0).Add(at.Sub(d.born))
}
