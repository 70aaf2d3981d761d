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
		for range 4 { // it sends again until it is answered
			if _, err := conn.Write(message); err != nil {
				continue
			}
			if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
				return false
			}
			if got, err := conn.Read(answer); err == nil {
				return got >= 4 && answer[0] == 0x60 && answer[1] == changed && answer[2] == id[0] && answer[3] == id[1]
			}
		}
		return false
	}
}

// A gateway that is killed at any moment has every reading that HTTP or CoAP has
// acknowledged.
func TestKillNineLosesNothingOfHTTPAndCoAP(t *testing.T) {
	s := newSite(t)
	web, udp := freeAddress(t), freeAddress(t)
	const token = "0123456789abcdef"
	tokens := filepath.Join(s.dir, "tokens")
	if err := os.WriteFile(tokens, []byte("pump "+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.more = fmt.Sprintf("[ingest.http]\nlisten = %q\ntoken_file = %q\n[ingest.coap]\nlisten = %q\n", web, tokens, udp)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	acked := map[string][]int{}
	var mu sync.Mutex
	var tellers sync.WaitGroup
	stop := make(chan struct{})
	tell := func(door string, first int, teller teller) {
		tellers.Go(func() {
			for n := first; ; n += 8 {
				select {
				case <-stop:
					return
				default:
				}
				if teller(n) {
					mu.Lock()
					acked[door] = append(acked[door], n)
					mu.Unlock()
				}
			}
		})
	}
	const lives = 5
	gateway := s.startGateway()
	s.eventually("the gateway listens", func() bool { return listens(web) })
	for i := range 4 {
		tell("http", i, posts(web, token))
		tell("coap", i, confirms(udp))
	}
	for range lives {
		before := 0
		s.eventually("the doors acknowledge", func() bool {
			mu.Lock()
			defer mu.Unlock()
			if before == 0 {
				before = 1 + len(acked["http"]) + len(acked["coap"])
			}
			return len(acked["http"])+len(acked["coap"]) > before+10+rand.IntN(50)
		})
		gateway.kill()
		gateway = s.startGateway()
		s.eventually("the gateway listens", func() bool { return listens(web) })
	}
	close(stop)
	tellers.Wait()
	s.startCloud()
	s.eventuallyDelivered()
	there := map[string]bool{}
	for _, r := range s.export("") {
		there[fmt.Sprintf("%s %s", r.Device, r.Value)] = true
	}
	for door, numbers := range acked {
		if len(numbers) < lives {
			t.Errorf("%s acknowledged %d readings only", door, len(numbers))
		}
		for _, n := range numbers {
			if !there[fmt.Sprintf("%s %d", door, n)] {
				t.Errorf("%s acknowledged %d, which is lost", door, n)
			}
		}
	}
	t.Logf("%d and %d were acknowledged", len(acked["http"]), len(acked["coap"]))
}
