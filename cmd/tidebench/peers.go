package main

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// The peers are the same MQTT server as the gateway's, used as its manual
// suggests: with a TCP listener of its own and with hooks that do their work
// before they return.

// open lets everybody in.
type open struct{ mqtt.HookBase }

func (*open) ID() string { return "open" }

func (*open) Provides(event byte) bool {
	return event == mqtt.OnConnectAuthenticate || event == mqtt.OnACLCheck
}

func (*open) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

func (*open) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// keeping is a hook that keeps each message before the server acknowledges it.
type keeping struct {
	mqtt.HookBase
	keep func(packets.Packet) error
}

func (*keeping) ID() string { return "keeping" }

func (*keeping) Provides(event byte) bool { return event == mqtt.OnPublish }

func (k *keeping) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if k.keep(pk) != nil {
		return pk, packets.ErrRejectPacket // no acknowledgement
	}
	return pk, nil
}

// serveBroker runs a server with the limits of the gateway's. The sizes of its
// network buffers are its own defaults: the gateway's server does not read from
// the network itself.
func serveBroker(ctx context.Context, s seat, hooks ...mqtt.Hook) error {
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = math.MaxInt32
	limits.MaximumClientWritesPending = 256
	limits.MaximumInflight = 1024
	limits.ReceiveMaximum = 256
	limits.MaximumMessageExpiryInterval = 0
	limits.TopicAliasMaximum = 0
	limits.Compatibilities.NoInheritedPropertiesOnAck = true
	server := mqtt.New(&mqtt.Options{
		Capabilities:           limits,
		SysTopicResendInterval: 60,
		Logger:                 slog.New(slog.DiscardHandler),
	})
	for _, h := range hooks {
		if err := server.AddHook(h, nil); err != nil {
			return err
		}
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: s.listen})); err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}

// servePlain keeps nothing.
func servePlain(ctx context.Context, s seat) error { return serveBroker(ctx, s, &open{}) }

// serveNaive keeps each message in a bbolt transaction of its own.
func serveNaive(ctx context.Context, s seat) error {
	db, err := bbolt.Open(filepath.Join(s.dir, "messages.db"), 0o600, nil)
	if err != nil {
		return err
	}
	bucket := []byte("messages")
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	keep := func(pk packets.Packet) error {
		return db.Update(func(tx *bbolt.Tx) error {
			messages := tx.Bucket(bucket)
			n, err := messages.NextSequence()
			if err != nil {
				return err
			}
			return messages.Put(binary.BigEndian.AppendUint64(nil, n), pk.Payload)
		})
	}
	return errors.Join(serveBroker(ctx, s, &open{}, &keeping{keep: keep}), db.Close())
}

// serveBlocking keeps messages in the gateway's buffer, and each hook waits for
// its own receipt: commits are shared among clients, not within one.
func serveBlocking(ctx context.Context, s seat) error {
	began := time.Now()
	b, err := buffer.Open(buffer.Config{
		Dir:      filepath.Join(s.dir, "journal"),
		MaxBytes: 512 << 20,
		Clock: buffer.Clock{
			Uptime: func() time.Duration { return time.Since(began) },
			State:  func() wire.ClockState { return wire.Synced },
		},
	}, logger())
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- b.Run(run) }()
	keep := func(pk packets.Packet) error {
		receipt, err := b.Accept(ctx, []reading.Reading{{
			Device: pk.TopicName, Metric: "raw", Time: time.Now().UnixNano(), Value: reading.Bytes(string(pk.Payload)),
		}})
		if err != nil {
			return err
		}
		return receipt.Wait(ctx)
	}
	err = serveBroker(ctx, s, &open{}, &keeping{keep: keep})
	stop()
	return errors.Join(err, <-ended)
}
