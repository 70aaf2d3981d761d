package modbusin

import (
	"errors"
	"os"
	"time"

	"github.com/tidegate/tidegate/internal/serialport"
)

// serialLine is a line over a serial port.
type serialLine struct{ *serialport.Port }

// ReadTimeout implements line. A damaged byte is one like others: the checksum
// of its frame tells.
func (l serialLine) ReadTimeout(p []byte, d time.Duration) (int, error) {
	n, err := l.Port.ReadTimeout(p, d)
	if errors.Is(err, serialport.ErrDamaged) {
		return n, nil
	}
	return n, err
}

// closedWire stands for a wire that could not be opened.
type closedWire struct{}

func (closedWire) send(question) error              { return os.ErrClosed }
func (closedWire) receive(time.Time) (frame, error) { return frame{}, os.ErrClosed }
func (closedWire) airtime(request) time.Duration    { return 0 }
func (closedWire) close() error                     { return nil }
