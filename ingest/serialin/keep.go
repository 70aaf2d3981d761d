package serialin

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// keeper hands frames to custody, and confirms them.
type keeper struct {
	s        *Source
	intake   *ingest.Intake
	backlog  *backlog
	confirms chan confirm
	rs       []reading.Reading
	text     []byte // the confirmations of what rs came from
	first    uint64 // the number of the frame that the first of them is for
	words    int    // how many they are
	// mute and doubt are the numbers of the last frames that had come when custody
	// refused some, and when a commit failed. None up to doubt is confirmed any more.
	// None up to mute that custody takes later is, and mute is keep's own.
	mute  uint64
	doubt atomic.Uint64
}

// confirm is what a device is told of a number of frames when their receipt has
// resolved. A nil receipt stands for frames that custody has no part in.
type confirm struct {
	receipt ingest.Receipt
	port    *serialport.Port // that they came from
	text    []byte
	frames  int
	first   uint64 // the number of the first of them
}

const (
	// maxConfirms bounds the receipts that are waited for, maxText what is told
	// of each, nearly.
	maxConfirms = 16
	maxText     = 64 << 10
	// enough readings are handed over at once; more would only need memory.
	enough = 512
)

// keep decodes what comes until the backlog is closed and empty, or ctx ends.
func (k *keeper) keep(ctx context.Context) {
	defer close(k.confirms)
	var b batch
	for {
		var ok bool
		if b, ok = k.backlog.take(ctx, b); !ok {
			return
		}
		port, start, frames := b.frames[0].port, 0, 0
		for i, f := range b.frames {
			if f.port != port { // each hears of its own frames only
				k.accept(ctx, port, frames)
				port, frames = f.port, 0
			}
			payload := b.data[start:f.end]
			start = f.end
			k.decode(payload, f)
			k.word(payload, b.before+uint64(i)+1)
			if frames++; len(k.rs) >= enough || len(k.text) >= maxText {
				k.accept(ctx, port, frames)
				frames = 0
			}
		}
		k.accept(ctx, port, frames)
	}
}

// Frame stands in Config.Confirm for the frame itself: a device that sends again
// what was not confirmed in time must know which of the two was.
const Frame = "{frame}"

// word adds the confirmation of a frame.
func (k *keeper) word(payload []byte, number uint64) {
	if number <= max(k.mute, k.doubt.Load()) {
		return
	}
	text, begin := k.s.config.Confirm, len(k.text)
	if begin == 0 {
		k.first = number
	}
	for len(text) > 0 {
		before, after, found := bytes.Cut(text, []byte(Frame))
		k.text = append(k.text, before...)
		if found {
			k.text = append(k.text, payload...)
		}
		text = after
	}
	if word := k.text[begin:]; len(word) > 0 {
		k.words++
		k.s.echoes.add(word, payload)
	}
}

// decode appends the readings of a frame.
func (k *keeper) decode(payload []byte, f arrival) {
	target := k.s.config.Target
	if f.poll >= 0 {
		target = k.s.config.Polls[f.poll].Target
	}
	first := len(k.rs)
	var fate route.Fate
	var err error
	k.rs, fate, err = target.Read(k.rs, payload, route.Arrival{Intake: k.intake, Now: f.at})
	switch fate {
	case route.Opaque:
		k.s.counts.opaque.Add(1)
	case route.Dropped:
		k.s.counts.dropped.Add(1)
	}
	if err != nil {
		k.s.trouble(err)
	}
	for i := first; i < len(k.rs); i++ {
		if k.rs[i].Time == 0 { // it may have waited: the intake's time would be later
			k.rs[i].Time = f.at
			k.rs[i].Flags |= reading.Stamped
		}
	}
}

// accept hands over what was decoded from a number of frames.
func (k *keeper) accept(ctx context.Context, port *serialport.Port, frames int) {
	if frames == 0 {
		return
	}
	var receipt ingest.Receipt
	if len(k.rs) > 0 || k.intake.Owes() {
		var err error
		receipt, err = k.intake.Accept(ctx, k.rs)
		clear(k.rs)
		k.rs = k.rs[:0]
		if err != nil {
			k.text, k.words, k.mute = k.text[:0], 0, k.backlog.came()
			k.s.counts.refused.Add(uint64(frames))
			k.s.trouble(err)
			return
		}
	}
	if len(k.text) == 0 {
		return
	}
	c := confirm{receipt, port, k.text, k.words, k.first}
	k.text, k.words = nil, 0
	select {
	case k.confirms <- c:
	case <-ctx.Done():
	}
}

// confirm tells the device, frame by frame, that custody is taken. After a
// commit that failed, nothing that had come by then is confirmed: a device
// that counts confirmations must not take a later one for the one it waits for.
func (k *keeper) confirm(ctx context.Context) {
	for c := range k.confirms {
		if c.receipt != nil {
			if err := c.receipt.Wait(ctx); err != nil {
				k.doubt.Store(k.backlog.came())
				if ctx.Err() == nil {
					k.s.trouble(err)
				}
				continue
			}
		}
		if ctx.Err() != nil || c.first <= k.doubt.Load() || c.port == nil || c.port != k.s.current() {
			continue // nobody is there to be told
		}
		if err := k.tell(c); err != nil && !errors.Is(err, serialport.ErrGone) {
			k.s.trouble(err)
		}
	}
}

func (k *keeper) tell(c confirm) error {
	n, err := c.port.Write(c.text)
	k.s.taps.show(c.text[:n], Out, false)
	if err == nil {
		k.s.counts.confirmed.Add(uint64(c.frames))
	}
	return err
}
