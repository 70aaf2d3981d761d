package daemon

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// teller is a device that tells numbers at one door, one after the other.
type teller func(n int) (acknowledged bool)

// posts tells numbers over HTTP.
func posts(address, token string) teller {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return func(n int) bool {
		r, err := http.NewRequest(http.MethodPost, "http://"+address+"/v1/readings/http", strings.NewReader(fmt.Sprintf(`{"n":%d}`, n)))
		if err != nil {
			return false
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(r)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return err == nil && response.StatusCode == http.StatusCreated && string(body) == "{\"readings\":1}\n"
	}
}

// confirms tells numbers over CoAP, as confirmable messages with no token and one
// segment of a path, RFC 7252 §3.
func confirms(address string) teller {
	return func(n int) bool {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		const post, changed = 0x02, 0x44
		id := binary.BigEndian.AppendUint16(nil, uint16(n))
		message := append([]byte{0x40, post, id[0], id[1]}, "\xb4coap\xff"...)
		message = fmt.Appendf(message, `{"n":%d}`, n)
		answer := make([]byte, 100)
		for range 20 { // it sends again until it is answered
			if _, err := conn.Write(message); err != nil {
				continue
			}
			if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				return false
			}
			if got, err := conn.Read(answer); err == nil {
				return got >= 4 && answer[0] == 0x60 && answer[1] == changed && answer[2] == id[0] && answer[3] == id[1]
			}
		}
		return false
	}
}

// chorus is many devices that tell numbers, and what was acknowledged to them.
type chorus struct {
	stop    chan struct{}
	tellers sync.WaitGroup
	mu      sync.Mutex
	acked   map[string][]int // numbers, by door
}

// tell lets a device tell every eighth number.
func (c *chorus) tell(door string, first int, tell teller) {
	c.tellers.Go(func() {
		for n := first; ; n += 8 {
			select {
			case <-c.stop:
				return
			default:
			}
			if !tell(n) {
				<-time.After(5 * time.Millisecond) // nobody is there: not at once again
				continue
			}
			c.mu.Lock()
			c.acked[door] = append(c.acked[door], n)
			c.mu.Unlock()
		}
	})
}

// count is how many numbers every door has acknowledged at least.
func (c *chorus) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(len(c.acked["http"]), len(c.acked["coap"]))
}

// A gateway that is killed at any moment has every reading that HTTP or CoAP has
// acknowledged.
func TestKillNineLosesNothingOfHTTPAndCoAP(t *testing.T) {
	const lives, token = 5, "0123456789abcdef"
	s := newSite(t)
	web, udp := porttest.For(t), porttest.For(t)
	tokens := filepath.Join(s.dir, "tokens")
	if err := os.WriteFile(tokens, []byte("pump "+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.more = fmt.Sprintf("[ingest.http]\nlisten = %q\ntoken_file = %q\n[ingest.coap]\nlisten = %q\n", web, tokens, udp)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	c := &chorus{stop: make(chan struct{}), acked: map[string][]int{}}
	for i := range 4 {
		c.tell("http", i, posts(web, token))
		c.tell("coap", i, confirms(udp))
	}
	gateway := s.startGateway()
	for range lives {
		until := c.count() + 1 + rand.IntN(50)
		s.eventually("both doors acknowledge", func() bool { return c.count() >= until })
		gateway.kill()
		gateway = s.startGateway()
	}
	close(c.stop)
	c.tellers.Wait()
	s.startCloud()
	s.eventuallyDelivered()
	there := map[string]bool{}
	for _, r := range s.export("") {
		there[fmt.Sprintf("%s %s", r.Device, r.Value)] = true
	}
	for door, numbers := range c.acked {
		for _, n := range numbers {
			if !there[fmt.Sprintf("%s %d", door, n)] {
				t.Errorf("%s acknowledged %d, which is lost", door, n)
			}
		}
		t.Logf("%s acknowledged %d", door, len(numbers))
	}
}
