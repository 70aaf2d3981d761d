package stompout

import (
	"bufio"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// joined is how many bytes are held back at the most: the largest record of TLS.
const joined = 16 << 10

// write writes what is queued, and heart-beats when there is nothing, until the
// link is gone or to be left.
func (l *link) write() {
	var beats <-chan time.Time
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	if l.beat > 0 {
		beats = idle.C
	}
	out := bufio.NewWriterSize(l.wire, joined)
	var scratch []byte
	for {
		err := l.writeQueue(out, &scratch)
		if l.beat > 0 {
			idle.Reset(l.beat)
		}
		if err == nil {
			select {
			case <-l.stir:
				continue
			case <-beats:
				_, err = l.wire.Write([]byte{'\n'})
			case <-l.leaving:
				l.wire.Write((&frame{command: disconnectCommand}).append(nil)) // whoever has gone needs no goodbye
				return
			case <-l.gone:
				return
			}
		}
		if err != nil {
			l.fail(l.lost(err))
			return
		}
	}
}

// writeQueue writes until nothing is queued any more. Small messages share packets.
func (l *link) writeQueue(out *bufio.Writer, scratch *[]byte) error {
	for {
		f, m := l.next()
		if f == nil {
			return out.Flush()
		}
		for i, p := range m.Pieces() {
			head := l.appendSend((*scratch)[:0], m, p, f.first+uint64(i))
			err := writeFrame(out, head, p.Body)
			if *scratch = head; err != nil {
				return err
			}
		}
	}
}

// next takes a flight off the queue. Its message belongs to the writer alone from
// now on, so that the flight can be remembered without it.
func (l *link) next() (*flight, uplink.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil, uplink.Message{}
	}
	f := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	m := f.message
	f.begun, f.message = true, uplink.Message{}
	return f, m
}

// appendSend appends the head of the SEND of a piece.
func (l *link) appendSend(dst []byte, m uplink.Message, p uplink.Part, receipt uint64) []byte {
	dst = append(dst, sendCommand+"\n"...)
	dst = appendHeader(dst, "destination", l.cfg.Destination.Expand(m, p, Escape), false)
	dst = appendHeader(dst, "content-type", m.ContentType, false)
	dst = append(dst, "content-length:"...)
	dst = strconv.AppendInt(dst, int64(len(p.Body)), 10)
	dst = append(dst, "\npersistent:true\nreceipt:"...)
	dst = strconv.AppendUint(dst, receipt, 10)
	dst = append(dst, '\n')
	if l.cfg.Text {
		dst = append(dst, "amq-msg-type:text\n"...)
	}
	dst = appendHeader(dst, KeyHeader, m.PartKey(p), false)
	return append(dst, '\n')
}

// writeFrame hands a frame over.
func writeFrame(out *bufio.Writer, head, body []byte) error {
	for _, b := range [][]byte{head, body, {0}} {
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	return nil
}
