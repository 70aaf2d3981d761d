package overmqtt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/commandtest"
)

func TestPacketsThatAreTooLargeAreCut(t *testing.T) {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, ProtocolVersion: level5, TopicName: "a", PacketID: 7,
		Payload: bytes.Repeat([]byte("x"), 1<<20)}
	var buf bytes.Buffer
	if err := pk.PublishEncode(&buf); err != nil {
		t.Fatal(err)
	}
	buf.Write([]byte{packets.Pingresp << 4, 0})
	in := bufio.NewReader(&buf)
	got, err := readPacket(in, level5)
	if err != nil || got.PacketID != 7 || len(got.Payload) <= command.MaxBody || len(got.Payload) > maxPacket {
		t.Errorf("%d bytes of %d, %v", len(got.Payload), got.PacketID, err)
	}
	if got, err := readPacket(in, level5); err != nil || got.FixedHeader.Type != packets.Pingresp {
		t.Errorf("behind it comes %+v, %v", got, err)
	}
}

// FuzzReadPacket: any bytes are packets within the bounds, or an error; and no more
// is allocated than a packet may have.
func FuzzReadPacket(f *testing.F) {
	for _, seed := range []string{
		"\x20\x03\x00\x00\x00", "\x20\x02\x00\x00", "\x40\x02\x00\x01", "\x90\x04\x00\x01\x00\x01", "\xd0\x00", "\xe0\x01\x8e",
		"\x32\x09\x00\x01a\x00\x07\x00onX", "\x30\x05\x00\x01aon", "\x32\xff\xff\xff\x7f\x00\x01a", "\x82\x00", "\x36\x00",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, five bool) {
		level := byte(level311)
		if five {
			level = level5
		}
		in := bufio.NewReader(bytes.NewReader(b))
		for {
			pk, err := readPacket(in, level)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errMalformed) {
					t.Fatalf("%v", err)
				}
				return
			}
			if len(pk.Payload) > len(b) {
				t.Fatalf("%d bytes of %d", len(pk.Payload), len(b))
			}
		}
	})
}

func TestReadingAllocatesNoMoreThanAPacket(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readPacket(bufio.NewReader(strings.NewReader("\x32\xff\xff\xff\x7f\x00\x01a")), level5)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 2*maxPacket {
		t.Errorf("%d bytes for a packet of eight, %v", n, err)
	}
}

// A broker that says nothing any more is noticed within one and a half times the
// keep-alive.
func TestASilentBrokerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() { // says hello, and reads on without a word
			in := bufio.NewReader(far)
			_, _ = in.ReadByte()
			n, _, _ := packets.DecodeLength(in)
			_, _ = io.CopyN(io.Discard, in, int64(n))
			_, _ = far.Write([]byte{packets.Connack << 4, 2, 0, 0})
			_, _ = io.Copy(io.Discard, in)
		}()
		c := New(Config{Address: "broker:1883", Protocol: V311, ClientID: "g", Topic: "c", KeepAlive: time.Minute,
			Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }}, slog.New(slog.DiscardHandler))
		w := commandtest.NewWorld(t)
		began := time.Now()
		err := c.Run(t.Context(), w.Clerk)
		if d := time.Since(began); !errors.Is(err, errSilent) || d < time.Minute || d > 121*time.Second {
			t.Errorf("%v after %v", err, d)
		}
	})
}
