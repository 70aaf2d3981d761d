package porttest

import (
	"net"
	"testing"
)

func TestNobodyElseIsGivenAClaimedPort(t *testing.T) {
	seen := map[string]bool{}
	for range 300 { // of 20,000: some two would be the same by chance
		addr := For(t)
		if seen[addr] {
			t.Errorf("%s twice", addr)
		}
		seen[addr] = true
	}
}

func TestAClaimedPortCanBeListenedOn(t *testing.T) {
	for range 2 {
		l, err := net.Listen("tcp", For(t))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}
