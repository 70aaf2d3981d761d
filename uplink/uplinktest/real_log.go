package uplinktest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// log is what the senders of a case have been told.
type log struct {
	batch batch

	mu       sync.Mutex
	sums     map[string][sha256.Size]byte // by key, of what was acknowledged
	tried    map[string][sha256.Size]byte // by key, of what may be there too
	failures int
	more     chan struct{} // closed when there is more
	over     bool          // there will be none
}

func newLog(b batch) *log {
	return &log{batch: b, sums: map[string][sha256.Size]byte{}, tried: map[string][sha256.Size]byte{}, more: make(chan struct{})}
}

func (l *log) acked(m uplink.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	note(l.sums, m)
	close(l.more)
	l.more = make(chan struct{})
}

// giveUp ends the waiting for more.
func (l *log) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	close(l.more)
	l.more = make(chan struct{})
}

func (l *log) fail(m uplink.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
	note(l.tried, m)
}

func note(sums map[string][sha256.Size]byte, m uplink.Message) {
	for _, p := range m.Pieces() {
		sums[m.PartKey(p)] = sha256.Sum256(p.Body)
	}
}

func (l *log) failed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures
}

func (l *log) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sums)
}

// await waits for n more acknowledgements.
func (l *log) await(t *testing.T, n int) {
	t.Helper()
	late := time.NewTimer(6 * patience)
	defer late.Stop()
	want := l.size() + n
	for {
		l.mu.Lock()
		size, over, more := len(l.sums), l.over, l.more
		l.mu.Unlock()
		if size >= want {
			return
		}
		if over {
			t.FailNow()
		}
		select {
		case <-more:
		case <-late.C:
			t.Fatalf("%d messages are acknowledged after %v, want %d", size, 6*patience, want)
		}
	}
}

// keyOf returns the key of a message of this batch. One that carries no key is
// known by its body.
func (l *log) keyOf(got Received) (key string, ours bool) {
	if got.Key != "" {
		return got.Key, strings.HasPrefix(got.Key, l.batch.gateway+"/")
	}
	sum := sha256.Sum256(got.Body)
	for _, known := range []map[string][sha256.Size]byte{l.sums, l.tried} {
		for key, s := range known {
			if s == sum {
				return key, true
			}
		}
	}
	return "", bytes.HasPrefix(got.Body, []byte(l.batch.gateway+"/"))
}

// copies counts the messages of the batch that have arrived.
func (l *log) copies(received []Received) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{}
	for _, got := range received {
		if key, ours := l.keyOf(got); ours {
			n[key]++
		}
	}
	return n
}

// check compares what is in the server with what the senders were told: nothing is
// lost, changed or invented.
func (l *log) check(t *testing.T, received []Received) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.compare(received); err != nil {
		t.Error(err)
	}
}

func (l *log) compare(received []Received) error {
	there := map[string]bool{}
	var wrong []error
	for _, got := range received {
		key, ours := l.keyOf(got)
		if !ours {
			continue
		}
		want, known := l.sums[key]
		if !known {
			want, known = l.tried[key]
		}
		there[key] = true
		switch {
		case !known:
			wrong = append(wrong, fmt.Errorf("invented: %q, %d bytes", key, len(got.Body)))
		case got.Body != nil && sha256.Sum256(got.Body) != want:
			wrong = append(wrong, fmt.Errorf("changed: %s, now %d bytes", key, len(got.Body)))
		}
	}
	for key := range l.sums {
		if !there[key] {
			wrong = append(wrong, fmt.Errorf("lost: %s was acknowledged, and is not in the server", key))
		}
	}
	const most = 10
	if len(wrong) > most {
		wrong = append(wrong[:most], fmt.Errorf("… and %d more", len(wrong)-most))
	}
	return errors.Join(wrong...)
}
