package dashboard

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlowViewerGetsChangesMerged(t *testing.T) {
	inBubble(t, Config{}, func(h *Hub) {
		v := mustJoin(t, h)
		for i := range 100 { // nobody reads v.frames
			time.Sleep(250 * time.Millisecond)
			h.Publish(batch(fmt.Sprint("device", i), 2, float64(i)))
		}
		first, second := nextFrame(t, v), nextFrame(t, v)
		if second.From != first.Seq {
			t.Fatalf("frames from %d to %d and from %d to %d do not join", first.From, first.Seq, second.From, second.Seq)
		}
		if len(first.Devices) != 0 || len(second.Devices) != 100 || second.Status == nil {
			t.Errorf("%d and %d devices in two frames, want none and 100, with the state of now: %v", len(first.Devices), len(second.Devices), second.Status)
		}
	})
}

// TestChangesAreShownAtOnce follows a viewer of a device that speaks at random.
func TestChangesAreShownAtOnce(t *testing.T) {
	inBubble(t, Config{}, func(h *Hub) {
		v := mustJoin(t, h)
		nextFrame(t, v)
		for i := range 200 {
			time.Sleep(time.Duration(i*i*i%397) * time.Millisecond)
			h.Publish(batch("device", 1, float64(i)))
			began := time.Now()
			for m := (*metricFrame)(nil); m == nil; m = nextFrame(t, v).metric("device", "m0") {
			}
			if took := time.Since(began); took > h.config.Interval {
				t.Fatalf("change %d was shown after %v", i, took)
			}
		}
	})
}

// TestCrowdAtTheGateIsServedTogether has somebody come and go all the time: each one
// gets everything, and everything is not made for each.
func TestCrowdAtTheGateIsServedTogether(t *testing.T) {
	inBubble(t, Config{}, func(h *Hub) {
		first := everything(t, h).Seq
		began := time.Now()
		for time.Since(began) < 10*time.Second {
			v := mustJoin(t, h)
			if f := nextFrame(t, v); f.From != 0 || f.Status == nil {
				t.Fatalf("first frame: from %d, status %v", f.From, f.Status)
			}
			h.leave(v)
		}
		if turns := everything(t, h).Seq - first; turns > 10*25+30 {
			t.Errorf("%d turns in 10 seconds", turns)
		}
	})
}

func TestStateComesWithTheHeartbeat(t *testing.T) {
	inBubble(t, Config{}, func(h *Hub) {
		v, began := mustJoin(t, h), time.Now()
		frames, states := 0, 0
		for time.Since(began) < 10*time.Second {
			h.Publish(batch("device", 1, 1))
			f := nextFrame(t, v)
			frames++
			if f.Status != nil {
				states++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if states < 10 || states > 11 || frames < 150 {
			t.Errorf("the state of the gateway %d times in %d frames and 10 seconds", states, frames)
		}
		time.Sleep(100 * time.Millisecond)
		for began = time.Now(); time.Since(began) < 10*time.Second; {
			if f := nextFrame(t, v); f.Status == nil && len(f.Devices) == 0 {
				t.Error("a frame that tells nothing")
			}
		}
	})
}

// TestSlowStatusHoldsNothingUp has a gateway that takes ten seconds to say how it is.
func TestSlowStatusHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		h := NewHub(Config{}, func() Status {
			if slow.Load() {
				time.Sleep(10 * time.Second)
			}
			return Status{}
		})
		defer run(t, h)()
		v := mustJoin(t, h)
		nextFrame(t, v)
		slow.Store(true)
		time.Sleep(1500 * time.Millisecond)
		h.Publish(batch("device", 1, 1))
		began := time.Now()
		for m := (*metricFrame)(nil); m == nil; m = nextFrame(t, v).metric("device", "m0") {
		}
		if took := time.Since(began); took > h.config.Interval {
			t.Errorf("shown after %v", took)
		}
	})
}

func TestLargeFramesAreRarer(t *testing.T) {
	inBubble(t, Config{}, func(h *Hub) {
		v, began, frames := mustJoin(t, h), time.Now(), 0
		for ; time.Since(began) < 10*time.Second; frames++ {
			for d := range 40 {
				h.Publish(batch(fmt.Sprint("device-of-many-", d), 50, 1.5))
			}
			nextFrame(t, v)
		}
		if frames > 10*(4+1)+5 {
			t.Errorf("%d frames of 2,000 series in 10 seconds", frames)
		}
	})
}

func TestWhoComesBackGetsWhatHeMissed(t *testing.T) {
	inBubble(t, Config{MaxDevices: 2}, func(h *Hub) {
		h.Publish(batch("early", 1, 1))
		mark := h.mark(everything(t, h).Seq)
		h.Publish(batch("late", 1, 2))
		time.Sleep(time.Second)
		back := func(mark string) *frame {
			v, err := h.join(h.after(mark), false)
			if err != nil {
				t.Fatal(err)
			}
			defer h.leave(v)
			return nextFrame(t, v)
		}
		if f := back(mark); len(f.Devices) != 1 || f.Devices[0].Name != "late" || f.Status == nil || h.mark(f.From) != mark {
			t.Errorf("from %d: %+v, status %v", f.From, f.Devices, f.Status)
		}
		for _, strange := range []string{"", "-", "7", h.id, h.id + "-", h.id + "-0", h.id + "-x", h.id + "-99999999", "0123456789abcdef-1"} {
			if f := back(strange); f.From != 0 || len(f.Devices) != 2 {
				t.Errorf("mark %q: from %d, %d devices, want everything", strange, f.From, len(f.Devices))
			}
		}
		time.Sleep(2 * time.Hour)
		h.Publish(batch("new", 1, 3)) // the others are forgotten
		time.Sleep(time.Second)
		if f := back(mark); f.From != 0 || len(f.Devices) != 1 {
			t.Errorf("from %d: %+v, want everything, which is the new device", f.From, f.Devices)
		}
	})
}

func TestNothingIsBuiltWhileNobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		h := NewHub(Config{}, func() Status { asked.Add(1); return Status{} })
		defer run(t, h)()
		h.Publish(batch("device", 4, 1))
		time.Sleep(time.Minute)
		if asked.Load() != 0 {
			t.Errorf("status was asked %d times", asked.Load())
		}
		for range 3 {
			v := mustJoin(t, h)
			nextFrame(t, v)
			h.leave(v)
		}
		time.Sleep(time.Minute)
		if asked.Load() != 1 {
			t.Errorf("status was asked %d times for three short looks", asked.Load())
		}
	})
}

func TestValuesAreToldOnce(t *testing.T) {
	inBubble(t, Config{MaxViewers: 1}, func(h *Hub) {
		h.Publish(batch("device", 2, 5))
		time.Sleep(time.Second)
		text, err := h.Values(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		m := parse(t, text).metric("device", "m1")
		if m == nil || m.Value != 5.0 || m.Points != nil || strings.Contains(string(text), "status") {
			t.Errorf("told: %s", text)
		}
		mustJoin(t, h)
		if _, err := h.Values(context.Background()); err == nil {
			t.Error("a viewer too many was told")
		}
	})
}
