package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
)

const bridgeName = "mosquitto's bridge, QoS 1"

// bridge is mosquitto with a connection to another mosquitto, as the manual has it:
// it forwards what it is given, a publish each. Its queue is in memory.
func (b *bench) bridge(to string) sender {
	return sender{bridgeName,
		func(ctx context.Context, delay time.Duration) (fare, error) {
			return b.overBridge(ctx, to, func(s *servertest.Server, at far) (fare, error) {
				at.delay(delay)
				return b.bridgeLive(ctx, s, at, b.liveMessages())
			})
		},
		func(ctx context.Context) (fare, error) {
			return b.overBridge(ctx, to, func(s *servertest.Server, at far) (fare, error) {
				return b.bridgeDrain(ctx, s, at, b.backlogMessages())
			})
		},
	}
}

// acknowledged is how many bytes come back for so many connections and publishes:
// CONNACK and PUBACK have four each, and nothing else comes in these minutes.
func acknowledged(connections, messages uint64) int64 { return 4 * int64(connections+messages) }

// overBridge calls send with a mosquitto that has a bridge.
func (b *bench) overBridge(ctx context.Context, to string, send func(s *servertest.Server, at far) (fare, error)) (f fare, err error) {
	err = b.over(to, "", func(at far) error {
		config := servertest.Config("connection far", "address "+at.addr(), "topic # out 1", "cleansession false",
			"restart_timeout 1", "notifications false", "keepalive_interval 300")
		return servertest.Use(b.dir, servertest.Mosquitto, []servertest.Option{config}, func(s *servertest.Server) (err error) {
			f, err = send(s, at)
			return err
		})
	})
	return f, err
}

func (b *bench) bridgeLive(ctx context.Context, s *servertest.Server, at far, messages uint64) (f fare, err error) {
	if err := at.untilDown(ctx, acknowledged(1, 0), "the bridge connects"); err != nil {
		return f, err
	}
	began := time.Now()
	used, err := cpuOf(s.PID())
	if err != nil {
		return f, err
	}
	if err := fill(ctx, paced(100, 1)(s.Addr("mqtt")), messages); err != nil {
		return f, err
	}
	return bridgeBill(ctx, s, at, acknowledged(1, messages), messages, began, used)
}

func (b *bench) bridgeDrain(ctx context.Context, s *servertest.Server, at far, messages uint64) (f fare, err error) {
	// It begins with a connection: without one it has no queue for the other side.
	if err := at.untilDown(ctx, acknowledged(1, 0), "the bridge connects"); err != nil {
		return f, err
	}
	at.line.Cut()
	if err := fill(ctx, crowd(s.Addr("mqtt")), messages); err != nil {
		return f, err
	}
	_, before := at.line.Bytes()
	at.line.Restore()
	began, used := time.Now(), time.Duration(0)
	err = poll(ctx, 5*time.Millisecond, time.Minute, "the bridge tries again", func() (bool, error) {
		if _, down := at.line.Bytes(); down > before {
			return true, nil
		}
		began = time.Now()
		used, err = cpuOf(s.PID())
		return false, err
	})
	if err != nil {
		return f, err
	}
	return bridgeBill(ctx, s, at, acknowledged(2, messages), messages, began, used)
}

func bridgeBill(ctx context.Context, s *servertest.Server, at far, down int64, messages uint64, began time.Time, used time.Duration) (f fare, err error) {
	if err := at.untilDown(ctx, down, "the bridge has delivered everything"); err != nil {
		return f, err
	}
	f.took = time.Since(began)
	now, err := cpuOf(s.PID())
	if err != nil {
		return f, err
	}
	f.readings, f.cpu = float64(messages*metrics), now-used
	f.load, err = at.carried()
	return f, err
}

// untilDown waits for so many bytes to come back.
func (f far) untilDown(ctx context.Context, bytes int64, what string) error {
	return poll(ctx, 5*time.Millisecond, 5*time.Minute, what, func() (bool, error) {
		_, down := f.line.Bytes()
		return down >= bytes, nil
	})
}

// poster is the loop that posts JSON.
func (b *bench) poster() sender {
	return sender{"JSON by HTTP, a reading a POST",
		func(ctx context.Context, delay time.Duration) (fare, error) {
			if delay > 0 {
				return fare{}, nil // one request at a time: it could not keep up
			}
			return b.posted(ctx, b.liveMessages(), 100)
		},
		func(ctx context.Context) (fare, error) { return b.posted(ctx, b.backlogMessages()/10, 0) },
	}
}

// posted lets a child post messages, as fast as it can for a rate of 0.
func (b *bench) posted(ctx context.Context, messages uint64, rate float64) (f fare, err error) {
	sinkhole := outlet{name: theSinkhole, server: theSinkhole}
	err = b.reach(ctx, sinkhole, nil, func(to far) (err error) {
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		c, err := b.start(ctx, "poster", addr, to.dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.stop()) }()
		used, err := c.cpu()
		if err != nil {
			return err
		}
		began := time.Now()
		if err := told(ctx, fmt.Sprintf("http://%s/post?to=%s&messages=%d&rate=%g", addr, to.addr(), messages, rate)); err != nil {
			return err
		}
		f.took = time.Since(began)
		now, err := c.cpu()
		if err != nil {
			return err
		}
		f.readings, f.cpu = float64(messages*metrics), now-used
		f.load, err = to.carried()
		return err
	})
	return f, err
}

// told asks for a page and wants no complaint.
func told(ctx context.Context, url string) (err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, lastWords))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return err
}
