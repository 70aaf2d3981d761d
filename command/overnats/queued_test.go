package overnats

import (
	"testing"
	"time"
)

func TestWhenAMessageWasTakenIn(t *testing.T) {
	at := time.Unix(1780315200, 5)
	for reply, want := range map[string]time.Time{
		"$JS.ACK.COMMANDS.north-7.1.4.9.1780315200000000005.3":               at,
		"$JS.ACK.hub.ACCOUNT.COMMANDS.north-7.1.4.9.1780315200000000005.3":   at,
		"$JS.ACK.hub.ACCOUNT.COMMANDS.north-7.1.4.9.1780315200000000005.3.x": at,
		"": {}, "_INBOX.x": {}, "$JS.ACK.COMMANDS.north-7.1.4.9.now.3": {},
	} {
		if got := queued(reply); !got.Equal(want) {
			t.Errorf("%s: %v", reply, got)
		}
	}
}

// FuzzQueued: a subject of any kind is a time, or none.
func FuzzQueued(f *testing.F) {
	f.Add("$JS.ACK.COMMANDS.north-7.1.4.9.1780315200000000005.3")
	f.Fuzz(func(t *testing.T, reply string) {
		if at := queued(reply); !at.IsZero() && at.UnixNano() <= 0 {
			t.Errorf("%q: %v", reply, at)
		}
	})
}
