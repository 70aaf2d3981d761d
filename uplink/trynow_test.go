package uplink_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// Somebody who has corrected a password need not wait for the next try; a remote side
// that has asked to be left alone is.
func TestATryNowIsMadeUnlessTheRemoteSideAskedToWait(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		tries int
	}{
		"Transient":     {errors.New("no route"), 2},
		"Misconfigured": {uplink.Misconfigured(errors.New("wrong password")), 2},
		"Busy":          {uplink.RetryAfter(errors.New("slow down"), time.Hour), 1},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, s *sea) {
				tries := 0
				s.shore.answer = func(context.Context, uplink.Message) error {
					tries++
					return c.err
				}
				s.tank.pour(reading.Normal, 4)
				s.run(t)
				synctest.Wait()
				before := s.forwarder.Stats()
				_, asked := uplink.RetryDelay(c.err)
				if before.State != uplink.Down || before.Cause == nil || before.Asked != asked || !before.NextTry.After(time.Now()) {
					t.Errorf("%+v", before)
				}
				s.forwarder.TryNow()
				s.forwarder.TryNow() // does not block
				synctest.Wait()
				if tries < c.tries || c.tries == 1 && tries > 1 {
					t.Errorf("%d tries, want %d", tries, c.tries)
				}
			})
		})
	}
}

func TestMisconfiguredIsADelayWithAName(t *testing.T) {
	err := uplink.Misconfigured(errors.New("wrong password"))
	if d, ok := uplink.RetryDelay(err); !ok || d != uplink.ConfigDelay || !uplink.IsMisconfigured(err) || uplink.IsPermanent(err) {
		t.Errorf("%v %t", d, ok)
	}
	if uplink.IsMisconfigured(uplink.RetryAfter(errors.New("busy"), time.Minute)) || uplink.IsMisconfigured(nil) {
		t.Error("a delay alone is no misconfiguration")
	}
}
