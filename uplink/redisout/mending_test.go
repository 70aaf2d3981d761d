package redisout

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// What an encoder has no words for leaves a message without parts. There is nothing
// to send, and nobody to wait for; and the replies to others keep their places.
func TestMessageOfNoPartsIsNotSent(t *testing.T) {
	address, seen := recorder(t)
	sink := newSink(t, Config{Address: address})
	if err := sink.Send(within(t), message("{}")); err != nil {
		t.Fatal(err)
	}
	if err := sink.Send(within(t), uplink.Message{Key: message("").Key, Parts: []uplink.Part{}}); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if err := sink.Send(within(t), message("{}")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := len(seen()); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

// The clock of one stream may be ahead: an entry of the future was added to it, or
// the server's clock was wrong for a while. That trims no other stream, least of all
// the entry that is just being added.
func TestEachStreamIsTrimmedByItsOwnClock(t *testing.T) {
	var mu sync.Mutex
	var all []string
	address := peer(t, func(words []string) string {
		if words[0] == "CONFIG" {
			return "*0\r\n"
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, strings.Join(words[:6], " "))
		if words[1] == "t:future" {
			return "$15\r\n9000000000000-0\r\n"
		}
		return "$9\r\n2000000-0\r\n"
	})
	sink := newSink(t, Config{Address: address, Stream: parsed(t, "t:{device}"), MaxAge: 500 * time.Second})
	m, _ := cut(2)
	m.Parts[0].Device, m.Parts[1].Device = "future", "present"
	for range 2 {
		if err := sink.Send(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"XADD t:future * ", "XADD t:present * ", "XADD t:future MINID ~ 8999999500000 ", "XADD t:present MINID ~ 1500000 "} {
		if !strings.HasPrefix(all[i], want) {
			t.Errorf("entry %d: %q, want %q", i, all[i], want)
		}
	}
}

// As many clocks as there are devices would be without a bound.
func TestClocksAreBounded(t *testing.T) {
	c := clocks{known: make(map[string]int64)}
	for n := range 3 * maxClocks {
		c.note(strconv.Itoa(n), 1)
	}
	if n := len(c.known); n > maxClocks || n == 0 {
		t.Errorf("%d clocks are kept", n)
	}
}

// Redis hangs up on what is too large. Whoever else is under way is not too large for
// that: he would be cut small for good.
func TestOnlyTheGuiltyIsTooLarge(t *testing.T) {
	begun := make(chan struct{}, 4)
	entries := 0 // of one connection
	address := peer(t, func(words []string) string {
		if words[0] == "CONFIG" {
			return "*0\r\n"
		}
		if entries++; entries < 4 {
			begun <- struct{}{}
			return ""
		}
		begun <- struct{}{}
		return "$3\r\n1-0\r\n-ERR Protocol error: invalid bulk length\r\n"
	})
	sink := newSink(t, Config{Address: address})
	ends := []chan error{make(chan error, 1), make(chan error, 1), make(chan error, 1)}
	two, _ := cut(2) // the connection ends before the second part has a reply
	for i, m := range []uplink.Message{message("{}"), two, message("{}")} {
		go func() { ends[i] <- sink.Send(within(t), m) }()
		for range m.Pieces() {
			<-begun // in their order
		}
	}
	if err := <-ends[0]; err != nil {
		t.Errorf("before it: %v", err)
	}
	checkClass(t, <-ends[1], tooLarge)
	err := <-ends[2]
	checkClass(t, err, transient)
	if err != nil && strings.Count(err.Error(), "hint: ") != 1 {
		t.Error(err)
	}
}
