package uplink

import "testing"

// Blocks cannot be cut: two of 4,076 bytes are no body of 7,671. A trial that changed
// nothing was none, and larger bodies are tried until there are some, or they were slow.
func TestATrialThatChangedNothingIsNoAnswer(t *testing.T) {
	alone := cycle{rate: 8152, body: 4076}
	c := price{best: cycle{rate: 14_684, body: 7671}}
	judged := func(now cycle, on bool, least int) {
		t.Helper()
		if c.judge(now, 0.25); c.on != on || c.least != least {
			t.Errorf("after %+v: trial %v of bodies of %d, want %v of %d", now, c.on, c.least, on, least)
		}
	}
	judged(alone, true, 7671)
	judged(alone, true, 2*7671)
	paid := c
	judged(alone, true, 4*7671)
	judged(alone, true, 4*8152) // seconds, which no body should take
	judged(alone, false, 0)
	c = paid
	judged(cycle{rate: 24_000, body: 12_228}, true, 2*12_228)
}
