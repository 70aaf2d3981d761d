// Package reading defines the one value that crosses every border of tidegate:
// a single measurement of one metric of one device at one instant.
//
// Doors decode payloads into readings, the buffer writes blocks of readings to
// flash, doors out send them on, and the dashboard shows them. The package
// depends on the standard library only and knows nothing of any of these.
package reading

// Reading is one measured value. The triple (Device, Metric, Unit) names its
// [Series]. Readings of one series that always come in the same company (the
// fields of one payload) keep their order from the door to the cloud.
type Reading struct {
	// Device says who measured, for example "boiler-3" or "north/pump-7".
	Device string
	// Metric says what was measured, for example "temp". Fields of nested
	// payloads are joined with dots: "motor.current".
	Metric string
	// Unit is the unit in SenML notation (RFC 8428 §12.1), for example "Cel".
	// Empty means that nobody said.
	Unit string
	// Time is when it was measured, in nanoseconds since the Unix epoch, UTC.
	// Zero means "not known yet": Intake stamps it on arrival.
	Time int64
	// Value is what was measured.
	Value Value
	// Flags carry quality and provenance.
	Flags Flags
	// Lane is how urgent the reading is. The zero value is Normal.
	Lane Lane
}

// Series names a series: whose readings a plot shows.
type Series struct{ Device, Metric, Unit string }

// Lane is an urgency class with its own sequence numbers and its own share of the
// link.
type Lane uint8

// The three lanes, of which Alarm has the largest share of the link and Bulk the
// smallest.
const (
	Normal Lane = iota
	Alarm
	Bulk

	// Lanes is the number of lanes.
	Lanes = 3
)

// String returns the lane's name as it is written in configuration files.
func (l Lane) String() string {
	switch l {
	case Normal:
		return "normal"
	case Alarm:
		return "alarm"
	case Bulk:
		return "bulk"
	}
	return "unknown"
}

// ParseLane is the inverse of Lane.String.
func ParseLane(name string) (Lane, bool) {
	for l := Lane(0); l < Lanes; l++ {
		if l.String() == name {
			return l, true
		}
	}
	return 0, false
}

// Flags is the one byte that travels with every reading:
//
//	bits 0-1  quality: 0 good, 1 uncertain, 2 bad
//	bit  2    Stamped
//	bit  3    Historical
//	bit  4    Retained
//	bits 5-6  QoS of the MQTT publish it came in
//	bit  7    reserved, zero
type Flags uint8

const (
	// Uncertain and Bad are the two qualities other than good; the names
	// follow OPC UA's severity classes.
	Uncertain Flags = 1
	Bad       Flags = 2
	// Stamped says that the gateway's own clock gave the time, so a later
	// correction of that clock applies to it.
	Stamped Flags = 1 << 2
	// Historical says that the source itself called the reading late
	// (Sparkplug's is_historical).
	Historical Flags = 1 << 3
	// Retained says that it was published with MQTT's retain flag.
	Retained Flags = 1 << 4

	qualityMask Flags = 3
	qosShift          = 5
	qosMask     Flags = 3 << qosShift
)

// Quality returns 0 (good), Uncertain or Bad.
func (f Flags) Quality() Flags { return f & qualityMask }

// QoS returns the quality of service of the MQTT publish, 0 to 2.
func (f Flags) QoS() byte { return byte(f&qosMask) >> qosShift }

// WithQoS returns f with the quality of service set.
func (f Flags) WithQoS(qos byte) Flags {
	return f&^qosMask | Flags(qos)<<qosShift&qosMask
}
