package serialin

import (
	"context"
	"errors"
	"time"

	"github.com/tidegate/tidegate/internal/serialport"
)

// Sample is what was heard at one setting of a line.
type Sample struct {
	// Port is the setting.
	Port serialport.Config
	// Data is what came, in which Damaged bytes were marked by the driver.
	Data    []byte
	Damaged int
	// Pauses are the places in Data at which the line was silent.
	Pauses []int
}

// MaxSample bounds a Sample: more would tell no more.
const MaxSample = 4096

// Listen opens the port, sends what is to be sent, and listens for d, or until it
// has heard enough.
func Listen(ctx context.Context, c serialport.Config, send []byte, d time.Duration) (Sample, error) {
	s := Sample{Port: c}
	port, err := serialport.Open(c)
	if err != nil {
		return s, err
	}
	defer port.Close()
	stop := context.AfterFunc(ctx, func() { port.Close() })
	defer stop()
	if len(send) > 0 {
		if _, err := port.Write(send); err != nil {
			return s, err
		}
	}
	buf := make([]byte, MaxSample)
	pause := max(port.CharTime()*7/2, minGap)
	for until := time.Now().Add(d); len(s.Data) < MaxSample; {
		left := time.Until(until)
		if left <= 0 {
			break
		}
		n, err := port.ReadTimeout(buf[:MaxSample-len(s.Data)], min(left, pause))
		s.Data = append(s.Data, buf[:n]...)
		switch {
		case errors.Is(err, serialport.ErrDamaged):
			s.Damaged++
		case err != nil:
			return s, err
		case n == 0 && len(s.Data) > 0 && (len(s.Pauses) == 0 || s.Pauses[len(s.Pauses)-1] < len(s.Data)):
			s.Pauses = append(s.Pauses, len(s.Data))
		}
	}
	return s, nil
}

// printable is which part of the sample is text: a wrong speed makes noise.
func (s Sample) printable() float64 {
	if len(s.Data) == 0 {
		return 0
	}
	text := 0
	for _, b := range s.Data {
		if b >= ' ' && b <= '~' || b == '\r' || b == '\n' || b == '\t' {
			text++
		}
	}
	return float64(text) / float64(len(s.Data))
}

// damagedPart is which part of the sample was marked by the driver.
func (s Sample) damagedPart() float64 {
	if len(s.Data) == 0 {
		return 0
	}
	return float64(s.Damaged) / float64(len(s.Data))
}

// sevenBits says whether what was heard with eight bits and no parity is seven
// bits with one: text in the low bits, and a parity bit that is right nearly
// always. It is None if not.
func (s Sample) sevenBits() serialport.Parity {
	text, even, high := 0, 0, 0
	for _, b := range s.Data {
		low := b & 0x7F
		if low >= ' ' && low <= '~' || low == '\r' || low == '\n' {
			text++
		}
		ones := 0
		for rest := b; rest != 0; rest &= rest - 1 {
			ones++
		}
		if ones%2 == 0 {
			even++
		}
		high += int(b >> 7)
	}
	n := len(s.Data)
	switch {
	case n < 8 || high == 0 || 100*text < 98*n:
		return serialport.None
	case 100*even >= 98*n:
		return serialport.Even
	case 100*(n-even) >= 98*n:
		return serialport.Odd
	}
	return serialport.None
}
