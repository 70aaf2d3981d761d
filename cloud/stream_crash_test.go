package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/wire"
)

// deliverStream is deliver over a WebSocket, with several messages on their way
// at once. Acknowledgements come in any order: acked is where they have no hole.
func (g *gateway) deliverStream(ctx context.Context, t *testing.T, url string) {
	ws, _, err := websocket.Dial(ctx, url+"/v1/ingest", &websocket.DialOptions{Subprotocols: []string{StreamProtocol}})
	if err != nil {
		return // it was killed
	}
	defer ws.CloseNow()
	for ctx.Err() == nil {
		next, due := g.acked+1, map[uint64]uint64{} // first → last
		for range 1 + g.rng.IntN(6) {
			last := next + g.rng.Uint64N(20)
			due[next] = last
			body := encode(t, wire.Chunk{Gateway: g.name, Blocks: []wire.Block{run(t, next, last)}})
			head := fmt.Sprintf("%s %s/%016x/normal/%d-%d\n", ChunkType, g.name, epoch, next, last)
			if ws.Write(ctx, websocket.MessageBinary, append([]byte(head), body...)) != nil {
				return
			}
			next = last + 1
		}
		for arrived := map[uint64]bool{}; len(arrived) < len(due); {
			_, text, err := ws.Read(ctx)
			var said answer
			if err != nil || json.Unmarshal(text, &said) != nil || due[said.Acked.First] != said.Acked.Last {
				return
			}
			arrived[said.Acked.First] = true
			for arrived[g.acked+1] {
				g.promised(due[g.acked+1])
			}
		}
	}
}

// FuzzStreamMessage: whatever a gateway sends, its key is what the answer speaks
// of, and the body is its own bytes.
func FuzzStreamMessage(f *testing.F) {
	f.Add([]byte(head19 + "\nbody"))
	f.Add([]byte(" a/b/00000000000000a1/alarm/18446744073709551615-1\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		media, key, body, err := cutHead(b)
		if err != nil {
			return
		}
		if got := media + " " + key + "\n" + string(body); got != string(b) || len(media)+len(key) > maxHead || strings.Contains(media, " ") {
			t.Errorf("%q was read as %q, %q and %q", b, media, key, body)
		}
		about, err := parseKey(key)
		if err != nil {
			return
		}
		if tail := fmt.Sprintf("/%s/%s/", about.Epoch, about.Lane); !bytes.Contains(b, []byte(tail)) {
			t.Errorf("%q was read as %+v", key, about)
		}
	})
}
