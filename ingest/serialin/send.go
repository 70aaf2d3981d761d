package serialin

import (
	"errors"
	"fmt"
)

// Send writes to the device, beside what the door writes: what comes back is read like
// everything else. It returns how many bytes were sent. Only doors that are allowed to
// do that do, and none that polls: its device's answer would be taken for another.
func (s *Source) Send(b []byte) (int, error) {
	switch {
	case !s.config.AllowSend:
		return 0, errors.New("this door does not send what it is told — hint: allow_send = true in its block lets it")
	case len(s.config.Polls) > 0:
		return 0, errors.New("this door polls its device, whose answer to this would be taken for another — hint: let the door pause meanwhile")
	}
	port := s.current()
	if port == nil {
		return 0, fmt.Errorf("the door %s — hint: \"tidegate status\" tells why", s.Stats().State)
	}
	n, err := port.Write(b)
	s.taps.show(b[:n], Out, false)
	return n, err
}
