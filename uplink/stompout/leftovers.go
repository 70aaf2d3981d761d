package stompout

import (
	"hash/maphash"

	"github.com/tidegate/tidegate/uplink"
)

// maxLeft is how many messages are remembered that nobody waits for.
const maxLeft = 64

// leftovers are the messages of a link whose Send has given up while their
// receipts may still come. A Send of the same bytes takes up the waiting where
// the other one has left it: over a slow link, and with a server that holds
// producers back, nothing is sent twice.
type leftovers struct {
	seed maphash.Seed
	all  []leftover // the oldest first
}

type leftover struct {
	print  print
	flight *flight
}

// print tells messages apart. The same key can come with other bytes: a message
// that was refused may have been cut otherwise.
type print struct {
	uplink.Key
	pieces int
	sum    uint64
}

func newLeftovers() leftovers { return leftovers{seed: maphash.MakeSeed()} }

func (l *leftovers) printOf(m uplink.Message) print {
	return print{m.Key, len(m.Parts), maphash.Bytes(l.seed, m.Body)}
}

// keep remembers a flight. The oldest is forgotten when there are too many: were
// it asked for, its message would be sent again.
func (l *leftovers) keep(m uplink.Message, f *flight) {
	if len(l.all) == maxLeft {
		l.all = append(l.all[:0], l.all[1:]...)
	}
	l.all = append(l.all, leftover{l.printOf(m), f})
}

// claim returns the flight of the message, nil if there is none, or if it has
// failed in the meantime.
func (l *leftovers) claim(m uplink.Message) *flight {
	if len(l.all) == 0 {
		return nil
	}
	is := l.printOf(m)
	for i, o := range l.all {
		if o.print != is {
			continue
		}
		l.all = append(l.all[:i], l.all[i+1:]...)
		select {
		case <-o.flight.done:
			if o.flight.err != nil {
				return nil
			}
		default:
		}
		return o.flight
	}
	return nil
}
