package serialport

// marks undoes what PARMRK does to the bytes of a line (termios(3)): a byte X
// that came damaged is FF 00 X, a break is FF 00 00, and a good FF is FF FF. A
// mark may be split between two reads, so the state is kept.
type marks struct {
	state markState
}

type markState uint8

const (
	plain  markState = iota
	marked           // after FF
	damage           // after FF 00
)

// undo takes bytes from raw until dst is full, or up to and with the first
// damaged one. It returns how many it wrote and how many of raw it used. When
// damaged is true, the last byte written is the damaged one.
func (m *marks) undo(dst, raw []byte) (written, used int, damaged bool) {
	for used < len(raw) && written < len(dst) {
		b := raw[used]
		used++
		switch {
		case m.state == plain && b == 0xFF:
			m.state = marked
			continue
		case m.state == marked && b == 0:
			m.state = damage
			continue
		case m.state == damage:
			m.state = plain
			dst[written] = b
			return written + 1, used, true
		case m.state == marked && b != 0xFF:
			// Nothing else follows FF; but a line discipline that does not mark
			// must not make bytes vanish: it was an FF, and b is looked at again.
			b = 0xFF
			used--
		}
		m.state = plain
		dst[written] = b
		written++
	}
	return written, used, false
}
