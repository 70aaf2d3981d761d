package mqttin

import (
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// matches is §4.7 of the standard, word by word.
func matches(filter, topic []string) bool {
	if strings.HasPrefix(topic[0], "$") && (filter[0] == "+" || filter[0] == "#") {
		return false
	}
	for i, level := range filter {
		if level == "#" {
			return true
		}
		if i >= len(topic) || level != "+" && level != topic[i] {
			return false
		}
		if i == len(topic)-1 && i == len(filter)-2 && filter[i+1] == "#" {
			return true // the parent level
		}
	}
	return len(filter) == len(topic)
}

// paths returns all lists of one to depth names.
func paths(depth int, names ...string) [][]string {
	all := [][]string{}
	last := [][]string{{}}
	for range depth {
		var next [][]string
		for _, path := range last {
			for _, name := range names {
				next = append(next, append(slices.Clone(path), name))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// One filter covers another when it matches every topic that the other does, and
// not otherwise: for all filters of up to three levels.
func TestCoversIsWhatMatchingSays(t *testing.T) {
	topics := paths(4, "a", "$s", "", "z") // z stands for all that no filter names
	var filters [][]string
	for _, f := range paths(3, "a", "$s", "", "+", "#") {
		if name := strings.Join(f, "/"); checkFilter([]byte(name)) == nil {
			filters = append(filters, f)
		}
	}
	hits := make([][]bool, len(filters))
	for i, f := range filters {
		for _, topic := range topics {
			hits[i] = append(hits[i], matches(f, topic))
		}
	}
	for i, allowed := range filters {
		for j, requested := range filters {
			want := true
			for k := range topics {
				want = want && (hits[i][k] || !hits[j][k])
			}
			if !slices.Contains(hits[j], true) {
				continue // matches nothing, such as "+" below a level that is none
			}
			a, r := strings.Join(allowed, "/"), strings.Join(requested, "/")
			if got := covers(a, r); got != want {
				t.Errorf("covers(%q, %q) = %v", a, r, got)
			}
		}
	}
}

func TestRulesAddUp(t *testing.T) {
	rules := []Rule{
		{User: Everybody, Publish: []string{"dev/{user}/#"}, Subscribe: []string{"cmd/{client}", "all"}},
		{User: "anna", Publish: []string{"anna/{client}/x"}, Subscribe: []string{"$SYS/#"}},
	}
	for _, c := range []struct {
		user, client, topic string
		publish, subscribe  bool
	}{
		{"ben", "c1", "dev/ben/temp", true, false},
		{"ben", "c1", "dev/anna/temp", false, false},
		{"ben", "c1", "anna/c1/x", false, false},
		{"ben", "c1", "cmd/c1", false, true},
		{"ben", "c1", "cmd/c2", false, false},
		{"ben", "c1", "all", false, true},
		{"ben", "c1", "$SYS/broker/uptime", false, false},
		{"anna", "c1", "anna/c1/x", true, false},
		{"anna", "c1", "$SYS/broker/uptime", false, true},
		{"", "c1", "dev//temp", false, false},
		{"", "c1", "all", false, true},
		// Names that would widen a filter give nothing.
		{"+", "c1", "dev/ben/temp", false, false},
		{"#", "c1", "dev/#", false, false},
		{"ben/temp", "c1", "dev/ben/temp/x", false, false},
		{"ben", "+", "cmd/c1", false, false},
		{"ben", "#", "cmd/c1", false, false},
		{"$SYS", "c1", "dev/$SYS/temp", false, false},
		{"{client}", "x", "dev/x/temp", false, false},
		{"{client}", "x", "dev/{client}/temp", true, false},
	} {
		r := rightsOf(rules, c.user, c.client)
		if got := r.mayPublish(c.topic); got != c.publish {
			t.Errorf("%q as %q publishes to %s: %v", c.user, c.client, c.topic, got)
		}
		if got := r.maySubscribe(c.topic); got != c.subscribe {
			t.Errorf("%q as %q subscribes to %s: %v", c.user, c.client, c.topic, got)
		}
	}
	if r := rightsOf(nil, "anna", "c"); !r.mayPublish("x") || !r.maySubscribe("#") {
		t.Error("without rules, not everything is allowed")
	}
}

func TestRuleFiltersAreChecked(t *testing.T) {
	for _, good := range []string{"#", "+/a", "dev/{user}/#", "{client}", "dev-{user}/{client}", "$SYS/#"} {
		if err := CheckRuleFilter(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a/#/b", "a+", "{name}", "{", "$share/g/a", "a\x00", "{user}#"} {
		if err := CheckRuleFilter(bad); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// ruled lets each user publish below, and subscribe to, what bears his name.
func ruled() Config {
	return Config{Authorize: passwords("anna", "a", "ben", "b"), Rules: []Rule{{
		User: Everybody, Publish: []string{"dev/{user}/#"}, Subscribe: []string{"cmd/{user}/#"},
	}}}
}

func TestRefusedPublishIsNeverStored(t *testing.T) {
	for _, c := range []struct {
		version, qos byte
		answer       byte // type of the packet; zero for none
		ends         bool
	}{
		{4, 0, 0, false}, {4, 1, 0, true}, {4, 2, 0, true},
		{5, 0, 0, false}, {5, 1, packets.Puback, false}, {5, 2, packets.Pubrec, false},
	} {
		custody := instant()
		src := start(t, custody, ruled())
		anna := login(t, src, c.version, "c", "anna", "a")
		anna.publish("dev/anna/t", "1", 1, 1)
		anna.publish("dev/ben/t", "2", c.qos, 2)
		anna.expect(packets.Puback, 1)
		switch {
		case c.ends:
			if got := anna.hungUp(); len(got) > 0 {
				t.Errorf("v%d QoS %d: got %+v", c.version, c.qos, got)
			}
		case c.answer != 0:
			if got := anna.expect(c.answer, 2); got.ReasonCode != codeNotAuthorized {
				t.Errorf("v%d QoS %d: got reason %#x", c.version, c.qos, got.ReasonCode)
			}
		}
		if !c.ends { // the connection goes on, and so does the order
			anna.publish("dev/anna/t", "3", 1, 3)
			anna.expect(packets.Puback, 3)
		}
		for _, r := range custody.Taken(t, 1) {
			if r.Device != "dev/anna" {
				t.Errorf("v%d QoS %d: stored %+v", c.version, c.qos, r)
			}
		}
		if denied := src.Stats().Denied; denied != 1 {
			t.Errorf("v%d QoS %d: %d denied", c.version, c.qos, denied)
		}
	}
}

// Refusals wait in line with everything else, and the line is bounded.
func TestRefusedPublishesAreBounded(t *testing.T) {
	const limit, refused = 10, 100
	custody := ingesttest.NewCustody()
	cfg := ruled()
	cfg.MaxUnacked = limit
	src := start(t, custody, cfg)
	anna := login(t, src, 5, "c", "anna", "a")
	anna.publish("dev/anna/t", "1", 1, 1)
	for i := range refused {
		anna.publish("dev/ben/t", "2", 1, uint16(i+2))
	}
	retry(t, func() bool { return src.Stats().Denied >= limit-1 })
	anna.silent()
	if denied := src.Stats().Denied; denied != limit-1 {
		t.Errorf("%d were read, want %d", denied, limit-1)
	}
	custody.Taken(t, 1)
	custody.Commit()
	for i := range refused + 1 {
		anna.expect(packets.Puback, uint16(i+1))
	}
}

func TestRefusedSubscriptionGetsNothing(t *testing.T) {
	src := start(t, instant(), ruled())
	anna := login(t, src, 5, "c", "anna", "a")
	filters := []string{"cmd/anna/x", "cmd/ben/x", "#", "cmd/+/x", "$share/g/cmd/ben/x", "$share/g/cmd/anna/#", "$SYS/#"}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
	}
	anna.send(pk)
	got := anna.expect(packets.Suback, 1).ReasonCodes
	const no = codeNotAuthorized
	if want := []byte{0, no, no, no, no, 0, no}; !slices.Equal(got, want) {
		t.Errorf("%v: got %v, want %v", filters, got, want)
	}
}

func TestRefusedSubscriptionIsToldBeforeVersion5(t *testing.T) {
	src := start(t, instant(), ruled())
	anna := login(t, src, 4, "c", "anna", "a")
	anna.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 1,
		Filters: packets.Subscriptions{{Filter: "cmd/ben/x"}}})
	if got := anna.expect(packets.Suback, 1).ReasonCodes; !slices.Equal(got, []byte{0x80}) {
		t.Errorf("got %v", got)
	}
}

// What is retained, and what others publish, is delivered by the rules, too.
func TestDeliveryIsLookedAtAgain(t *testing.T) {
	src := start(t, instant(), ruled())
	anna := login(t, src, 5, "c", "anna", "a")
	anna.subscribe(1, 1, "cmd/anna/#")
	b := serving(src)
	s := b.session("c")
	if !b.mayRead(s, "cmd/anna/x") || b.mayRead(s, "cmd/ben/x") {
		t.Error("not as the rules say")
	}
	anna.Close()
	gone(t, src)
	if b.mayRead(s, "cmd/ben/x") {
		t.Error("a client that is away may read everything")
	}
}

// serving returns the broker of a source that runs.
func serving(src *Source) *broker {
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.broker
}

// The will is a publish that nobody looks at when it happens.
func TestRefusedWillIsRefusedAtOnce(t *testing.T) {
	for _, c := range []struct{ version, code byte }{{4, 5}, {5, codeNotAuthorized}} {
		src := start(t, instant(), ruled())
		pk := loginPacket("c", "anna", "a")
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "dev/ben/t", []byte("1")
		if got := knock(t, src, c.version, pk); got != c.code {
			t.Errorf("v%d: got %#x", c.version, got)
		}
		pk.Connect.WillTopic = "dev/anna/t"
		if got := knock(t, src, c.version, pk); got != 0 {
			t.Errorf("v%d: got %#x", c.version, got)
		}
	}
}

// An alias would be a way past the rules, which know topics.
func TestAliasIsNoWayAround(t *testing.T) {
	custody := instant()
	src := start(t, custody, ruled())
	anna := login(t, src, 5, "c", "anna", "a")
	pk := publishPacket("dev/anna/t", "1", 1, 1)
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 1, true
	anna.send(pk)
	anna.hungUp()
	if len(custody.Taken(t, 0)) != 0 {
		t.Error("stored")
	}
}

func TestAnonymousHasNoName(t *testing.T) {
	src, stop := run(t, ingesttest.NewCustody(), Config{Anonymous: true, Rules: []Rule{
		{User: "anna", Publish: []string{"#"}}, {User: Everybody, Publish: []string{"dev/{user}/#"}},
	}})
	defer stop()
	c := login(t, src, 5, "c", "anna", "whatever")
	for id, topic := range []string{"x", "dev/anna/t"} {
		c.publish(topic, "1", 1, uint16(id+1))
		if got := c.expect(packets.Puback, uint16(id+1)); got.ReasonCode != codeNotAuthorized {
			t.Errorf("%s: got %#x", topic, got.ReasonCode)
		}
	}
}
