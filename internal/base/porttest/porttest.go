// Package porttest finds ports for programs that tests start, kill and start again.
package porttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// Claim returns a free port of the loopback interface, 127.0.0.1:port. It is
// below those that the kernel gives to outgoing connections: a client that dials
// a dead server there might meet itself, and the server could not come back. No
// other test takes it before the closer is closed: the claim is a socket without
// a file, so that none is left behind.
func Claim() (string, io.Closer, error) {
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		mine, err := net.Listen("unix", fmt.Sprintf("@tidegate-port-%d", port))
		if err != nil {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr, mine, nil
		}
		mine.Close()
	}
	return "", nil, errors.New("no port is free between 10000 and 30000")
}

// For claims a port until the test ends.
func For(t testing.TB) string {
	t.Helper()
	addr, mine, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mine.Close() })
	return addr
}
