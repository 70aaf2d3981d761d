package overmqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

var errMalformed = errors.New("what came is no packet of MQTT — hint: does something else listen on that port?")

// read reads one packet of the broker. Of one that is larger than maxPacket only
// the beginning is kept, which is enough to see whose it is and that it is too
// large.
func (l *link) read() (packets.Packet, error) { return readPacket(l.in, l.level) }

func readPacket(in *bufio.Reader, level byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: level}
	first, err := in.ReadByte()
	if err != nil {
		return pk, err
	}
	if !mayBegin(first) {
		return pk, fmt.Errorf("%w (it begins with 0x%02X)", errMalformed, first)
	}
	n := 0
	for shift := 0; ; shift += 7 {
		b, err := in.ReadByte()
		if err != nil {
			return pk, cutOff(err)
		}
		n |= int(b&127) << shift
		if b < 128 {
			break
		}
		if shift == 21 {
			return pk, errMalformed
		}
	}
	body := make([]byte, min(n, maxPacket))
	if n > maxPacket && first>>4 != packets.Publish {
		return pk, errMalformed
	}
	if _, err := io.ReadFull(in, body); err != nil {
		return pk, cutOff(err)
	}
	if _, err := io.CopyN(io.Discard, in, int64(n-len(body))); err != nil {
		return pk, cutOff(err)
	}
	return pk, decode(&pk, first, body)
}

// mayBegin reports whether a packet for a client that subscribes with QoS 1 and
// publishes with QoS 1 can begin with the byte.
func mayBegin(first byte) bool {
	switch first {
	case packets.Connack << 4, packets.Puback << 4, packets.Suback << 4, packets.Pingresp << 4, packets.Disconnect << 4:
		return true
	}
	return first>>4 == packets.Publish && first>>1&3 < 2
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode takes a packet apart. The library believes lengths; what it makes of a
// packet that is none is an error, or fields that nobody here trusts.
func decode(pk *packets.Packet, first byte, body []byte) error {
	err := pk.FixedHeader.Decode(first)
	pk.FixedHeader.Remaining = len(body)
	if err == nil {
		switch pk.FixedHeader.Type {
		case packets.Connack:
			if len(body) == 2 { // a broker that does not know MQTT 5 says so in an older packet
				pk.ProtocolVersion = level311
			}
			err = pk.ConnackDecode(body)
		case packets.Publish:
			err = pk.PublishDecode(body)
		case packets.Puback:
			err = pk.PubackDecode(body)
		case packets.Suback:
			err = pk.SubackDecode(body)
		case packets.Disconnect:
			if len(body) > 0 {
				pk.ReasonCode = body[0]
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%w (%s: %w)", errMalformed, packets.PacketNames[pk.FixedHeader.Type], err)
	}
	return nil
}
