package firmwaresim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SlaveFaults is what goes wrong on a bus of Modbus slaves. Shares are of the
// answers. The zero value is a bus without faults.
//
// Its text form is words divided by commas; a word without a share means 100 %:
//
//	slow 10%x300ms   the slave thinks so long, and the bus with it
//	late 5%x2s       the answer comes so late; others are given in the meantime
//	corrupt 1%       one bit is flipped; over Modbus TCP, which has no checksum,
//	                 the transaction is another one
//	exception 2%     exception 4, a device failure
//	wrongunit 1%     the answer says that it is from the next unit
//	noise 1%         1 to 8 random bytes come before the answer; RTU only
//	stuck 10%        the sample repeats the values of the one before
//	echo             the line echoes what the master says; RTU only
//	dead 3           unit 3 never answers; may be said of several
type SlaveFaults struct {
	Slow, Late, Corrupt, Exception, WrongUnit, Noise, Stuck float64
	// SlowBy and LateBy are how long.
	SlowBy, LateBy time.Duration
	// Echo says that the master hears itself.
	Echo bool
	// Dead units never answer.
	Dead []byte
}

func (f *SlaveFaults) words() []faultWord {
	return []faultWord{
		{"slow", &f.Slow, &f.SlowBy}, {"late", &f.Late, &f.LateBy}, {"corrupt", &f.Corrupt, nil},
		{"exception", &f.Exception, nil}, {"wrongunit", &f.WrongUnit, nil}, {"noise", &f.Noise, nil},
		{"stuck", &f.Stuck, nil},
	}
}

// ParseSlaveFaults reads the text form.
func ParseSlaveFaults(text string) (SlaveFaults, error) {
	var f SlaveFaults
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		unit, dead := strings.CutPrefix(part, "dead ")
		switch {
		case part == "":
		case part == "echo":
			f.Echo = true
		case dead:
			n, err := strconv.ParseUint(strings.TrimSpace(unit), 10, 8)
			if err != nil || n < 1 || n > maxUnit {
				return SlaveFaults{}, fmt.Errorf("%q names no unit — hint: they are 1 to %d", part, maxUnit)
			}
			f.Dead = append(f.Dead, byte(n))
		default:
			if err := parseFault(part, f.words(), "echo", "dead"); err != nil {
				return SlaveFaults{}, err
			}
		}
	}
	return f, nil
}

// String returns the text form, which ParseSlaveFaults reads.
func (f SlaveFaults) String() string {
	text := faultText(f.words())
	if f.Echo {
		text = append(text, "echo")
	}
	for _, unit := range f.Dead {
		text = append(text, fmt.Sprintf("dead %d", unit))
	}
	return strings.Join(text, ", ")
}

// MarshalText returns the text form.
func (f SlaveFaults) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the text form.
func (f *SlaveFaults) UnmarshalText(text []byte) (err error) {
	*f, err = ParseSlaveFaults(string(text))
	return err
}

func (f SlaveFaults) dead(unit byte) bool { return slices.Contains(f.Dead, unit) }
