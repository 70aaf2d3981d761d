package coapin

import (
	"cmp"
	"time"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/route"
)

// Config says where the server listens, what its paths mean and how much it
// bears. Zero values mean the defaults.
type Config struct {
	// Listen is the UDP address for plain CoAP; empty for none.
	Listen string
	// ListenDTLS is the UDP address for DTLS; empty for none. Key must be set
	// then.
	ListenDTLS string
	// Key returns the key that is shared with a peer; nil if nobody has that
	// identity. It is called by many goroutines at once.
	Key func(identity string) []byte
	// Routes says what paths mean. It must not be nil.
	Routes *route.Table
	// Formats are the decoders of content formats that say what a payload is.
	// What is not here, and payloads that say nothing, is decoded as its route
	// says.
	Formats map[Format]decode.Decoder
	// MaxBody is the largest payload in bytes, in one datagram or in blocks, 64
	// KiB by default.
	MaxBody int
	// MaxBodies is how many bytes the bodies may take, all together, that are
	// not complete, 1 MiB by default, and never less than two of MaxBody need.
	MaxBodies int
	// MaxEndpoints is how many peers that speak over plain UDP are known at
	// once, 1024 by default.
	MaxEndpoints int
	// MaxSessions is how many DTLS sessions there are, 256 by default: each
	// takes some 40 kB.
	MaxSessions int
	// MaxExchanges is how many requests are remembered, in case they come again,
	// 16 times MaxEndpoints by default.
	MaxExchanges int
	// MaxWaiting is how many requests may wait for custody, 1024 by default.
	MaxWaiting int
	// MaxRate is how many requests a second are taken from one endpoint; zero
	// stands for as many as come.
	MaxRate int
	// MaxHandshakes is how many DTLS handshakes may be under way, 32 by default.
	MaxHandshakes int
	// HandshakeTimeout is how long one may take, 15 s by default.
	HandshakeTimeout time.Duration
	// SessionIdle is how long a DTLS session lasts in which nothing is said, 24
	// hours by default.
	SessionIdle time.Duration
}

// Format is a content format, a number of the IANA registry "CoAP
// Content-Formats".
type Format uint16

// The formats of payloads that somebody may have a decoder for.
const (
	Text      Format = 0
	Links     Format = 40
	Octets    Format = 42
	JSON      Format = 50
	CBOR      Format = 60
	SenMLJSON Format = 110
	SenMLCBOR Format = 112
)

func (c Config) withDefaults() Config {
	c.MaxBody = cmp.Or(c.MaxBody, 64<<10)
	c.MaxBodies = cmp.Or(c.MaxBodies, 1<<20)
	c.MaxBodies = max(c.MaxBodies, 2*(c.MaxBody+bodyOverhead+maxOperation))
	c.MaxEndpoints = cmp.Or(c.MaxEndpoints, 1024)
	c.MaxSessions = cmp.Or(c.MaxSessions, 256)
	c.MaxExchanges = cmp.Or(c.MaxExchanges, 16*c.MaxEndpoints)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 1024)
	c.MaxExchanges = max(c.MaxExchanges, 2*c.MaxWaiting) // what waits cannot be forgotten
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, 32)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 15*time.Second)
	c.SessionIdle = cmp.Or(c.SessionIdle, 24*time.Hour)
	return c
}
