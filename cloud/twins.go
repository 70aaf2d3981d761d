package cloud

import (
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Two gateways under one name are one gateway to whoever reads the store, and nothing is
// refused. What tells them apart is that each has an epoch of its own, and both epochs are
// alive: readings are in them that a gateway has just dated.
//
// A gateway that was started again has two epochs as well, and the old one may come in
// pieces between those of the new one for days. But it has dated nothing in it since the new
// one began. So an epoch that is alive again long after another one was is another gateway's,
// in whatever order the links and lanes deliver. This leans on dates by clocks that are
// synchronised: readings that devices have dated, and gateways without the time, tell nothing.
const (
	// aliveWithin is how far a gateway's clock may be from this one for a reading that it has
	// dated now. What has waited longer on its way tells nothing.
	aliveWithin = 2 * time.Minute
	// twinTurns is how often an epoch must be alive again after another one was, and
	// twinAfter how long at least from the first time to the last: an epoch that has ended may be
	// alive for as long as aliveWithin after the next one has begun.
	twinTurns = 3
	twinAfter = 10 * time.Minute
	// twinAgain is how long nothing more is said of a name.
	twinAgain = time.Hour
	// maxNames and maxLives bound what is remembered: names, and epochs of one.
	maxNames = 16_384
	maxLives = 4
)

// twins remembers which epochs are alive. The zero twins is ready. Nothing of it is kept on
// disk: whoever begins anew knows of twins again after twinAfter.
type twins struct {
	mu    sync.Mutex
	names map[string]*alive
	swept time.Time // when there was a look for names that can go
}

// alive is the epochs that are alive under one name, the last that was at the end.
type alive struct {
	lives []life
	told  time.Time
}

// life is an epoch that was alive, and how often it was so again after another one,
// since when and when last.
type life struct {
	epoch       uint64
	turns       int
	since, last time.Time
}

// live notes that an epoch is alive. It returns the epoch of the twin if there is one, and
// whether that is to be said.
func (t *twins) live(gateway string, epoch uint64, now time.Time) (twin uint64, say bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.name(gateway, now)
	if a == nil {
		return 0, false
	}
	at := slices.IndexFunc(a.lives, func(l life) bool { return l.epoch == epoch })
	if at >= 0 && at == len(a.lives)-1 {
		a.lives[at].last = now
		return 0, false
	}
	is := life{epoch: epoch}
	if at >= 0 {
		is = a.lives[at]
		a.lives = slices.Delete(a.lives, at, at+1)
		if is.turns++; is.turns == 1 {
			is.since = now
		}
	}
	is.last = now
	if len(a.lives) >= maxLives {
		a.lives = slices.Delete(a.lives, 0, 1)
	}
	a.lives = append(a.lives, is)
	if is.turns < twinTurns || now.Sub(is.since) < twinAfter {
		return 0, false
	}
	if say = now.Sub(a.told) >= twinAgain; say {
		a.told = now
	}
	return a.lives[len(a.lives)-2].epoch, say
}

// name returns what is known of a name; nil if too many are.
func (t *twins) name(gateway string, now time.Time) *alive {
	if a := t.names[gateway]; a != nil {
		return a
	}
	if len(t.names) >= maxNames && now.Sub(t.swept) >= aliveWithin {
		t.swept = now
		for name, a := range t.names {
			if now.Sub(a.lives[len(a.lives)-1].last) >= twinAgain {
				delete(t.names, name)
			}
		}
	}
	if len(t.names) >= maxNames {
		return nil
	}
	if t.names == nil {
		t.names = make(map[string]*alive)
	}
	a := &alive{}
	t.names[gateway] = a
	return a
}

// isAlive says whether one of the readings of a block was dated just now, by a clock that
// is right.
func isAlive(b wire.Block, rs []reading.Reading, now time.Time) bool {
	return b.Clock == wire.Synced && slices.ContainsFunc(rs, func(r reading.Reading) bool {
		return r.Flags&reading.Stamped != 0 && now.Sub(time.Unix(0, r.Time)).Abs() <= aliveWithin
	})
}
