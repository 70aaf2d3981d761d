package buffer

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/wire"
)

// BenchmarkIsElsewhere: what a cursor has handed out may be tens of thousands of
// small blocks, and each that is looked at is compared with all of them.
func BenchmarkIsElsewhere(b *testing.B) {
	for _, out := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint("out=", out), func(b *testing.B) {
			c := &Cursor{}
			for i := range out {
				c.handOut([]wire.Block{{Header: wire.Header{First: uint64(i) + 1, Count: 1}}})
			}
			next := wire.Block{Header: wire.Header{First: uint64(out) + 1, Count: 1}}
			b.ReportAllocs()
			for b.Loop() {
				if c.isElsewhere(next) {
					b.Fatal("it is not")
				}
			}
		})
	}
}
