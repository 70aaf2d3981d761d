package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

func TestDocuments(t *testing.T) {
	for _, c := range []struct {
		doc  string
		want Command
	}{
		{`{"id":"1","topic":"a"}`, Command{ID: "1", Topic: "a", QoS: 1, Reply: true}},
		{` {"id":"\u0031","topic":"ä/b","payload":"on\n","qos":2,"retain":true,"reply":false} `,
			Command{ID: "1", Topic: "ä/b", Payload: []byte("on\n"), QoS: 2, Retain: true}},
		{`{"id":"1","device":"north/pump","payload":{"on": true, "x":[1,2.50]}}`,
			Command{ID: "1", Device: "north/pump", Payload: []byte(`{"on": true, "x":[1,2.50]}`), QoS: 1, Reply: true}},
		{`{"id":"1","topic":"a","payload":21.50}`, Command{ID: "1", Topic: "a", Payload: []byte("21.50"), QoS: 1, Reply: true}},
		{`{"id":"1","topic":"a","payload":"\ud83d\ude00"}`, Command{ID: "1", Topic: "a", Payload: []byte("😀"), QoS: 1, Reply: true}},
		{`{"id":"1","topic":"a","payload_base64":"AP8="}`, Command{ID: "1", Topic: "a", Payload: []byte{0, 0xFF}, QoS: 1, Reply: true}},
		{`{"id":"1","topic":"a","issued":"2026-06-01T14:00:00.5+02:00","expires":1780315200.25,"ttl":"1h30m","sender":"anna","gateway":"g"}`,
			Command{ID: "1", Topic: "a", QoS: 1, Reply: true, Issued: noon.Add(time.Second / 2), Expires: noon.Add(time.Second / 4), TTL: 90 * time.Minute, Sender: "anna", Gateway: "g"}},
	} {
		got, err := Parse([]byte(c.doc))
		if err != nil {
			t.Errorf("%s: %v", c.doc, err)
			continue
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(c.want)
		if !bytes.Equal(a, b) {
			t.Errorf("%s\n got %s\nwant %s", c.doc, a, b)
		}
	}
}

func TestWhatIsNoDocument(t *testing.T) {
	for _, doc := range []string{
		"", "null", "[]", `"x"`, "{", `{"id"`, `{"id":`, `{"id":1,"topic":"a"}`, `{"id":null,"topic":"a"}`, `{"id":"1","topic":null}`, `{"id":"1","topic":"a"`,
		`{"ID":"1","topic":"a"}`, `{"id":"` + strings.Repeat("x", 65) + `","topic":"a"}`, `{"id":"ä","topic":"a"}`, `{"id":"1","topic":"a","payload":null}`,
		`{"id":"1","topic":"a","payload":"\ud800"}`, `{"id":"1","topic":"a","ttl":0}`, `{"id":"1","topic":"a","ttl":-1}`, `{"id":"1","topic":"a","ttl":1e300}`,
		`{"id":"1","topic":"a","expires":"yesterday"}`, `{"id":"1","topic":"a","expires":0}`, `{"id":"1","topic":"a","issued":true}`, `{"id":"1","topic":"a","qos":"1"}`,
		`{"id":"1","topic":"a","qos":01}`, `{"id":"1","topic":"a","retain":"true"}`, `{"id":"1","topic":"a","sender":"a\u0007"}`, `{"id":"1","device":""}`,
		`{"id":"1","topic":"` + strings.Repeat("x", 1025) + `"}`, `{"id":"1","topic":"` + strings.Repeat("/", 32) + `"}`, `{"id":"1","topic":"a\u0000"}`,
		`{"id":"1","topic":"a","payload":"` + strings.Repeat("x", MaxBody) + `"}`, "{\"id\":\"1\",\"topic\":\"a\",\"payload\":\"\xff\"}", `{"id":"1","topic":"a","x":1}`,
	} {
		_, err := Parse([]byte(doc))
		if !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%.80s: got %v", doc, err)
		}
	}
}

func TestFiltersMatchAsMQTTSays(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b", "a", false}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false}, {"a/+", "a", false},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"#", "a", true}, {"+", "a", true}, {"+", "/a", false}, {"+/+", "/a", true}, {"a/+/c", "a//c", true},
		{"a/#", "ab", false}, {"+/b/#", "a/b", true}, {"a//b", "a/b", false},
	} {
		if got := matches(c.filter, c.topic); got != c.want {
			t.Errorf("%s matches %s: %v", c.filter, c.topic, got)
		}
	}
	for _, bad := range []string{"", "a/#/b", "a+", "#a", "$SYS/#", "a\x00", "\xff"} {
		if CheckFilter(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"#", "+", "a/+/b/#", "/"} {
		if err := CheckFilter(good); err != nil {
			t.Error(err)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("0123456789abcdef\n\n  fedcba9876543210 \r\n")
	keys, err := ReadKeys(file)
	if err != nil || len(keys) != 2 || string(keys[1]) != "fedcba9876543210" {
		t.Errorf("%q, %v", keys, err)
	}
	for _, text := range []string{"", "\n\n", "short\n", strings.Repeat("x", MaxBody+1)} {
		write(text)
		if _, err := ReadKeys(file); err == nil || !strings.Contains(err.Error(), "hint: ") || strings.Contains(err.Error(), "short") {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

// What the page shows is what the gateway takes: every object in it that has an id
// and a topic, and what its Python signs.
func TestTheDocumentsOfThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/connect/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, doc := range regexp.MustCompile(`\{"id":"7","topic"[^}]*\}`).FindAllString(string(page), -1) {
		seen++
		if _, err := Parse([]byte(doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
	if seen < 4 {
		t.Errorf("only %d", seen)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is missing: apt-get install python3")
	}
	_, code, _ := strings.Cut(string(page), "```python\n")
	code, _, _ = strings.Cut(code, "channel = ")
	code = strings.Replace(code, "pika, ", "", 1) + `
print(signed(b"0123456789abcdef", id=str(uuid.uuid4()), gateway="north-7", topic="dev/pump/set", payload={"on": True, "ü": "\u0000"}, expires=time.time() + 60))`
	out, err := exec.Command("python3", "-c", code).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if c, err := (Keys{[]byte("0123456789abcdef")}).open(bytes.TrimSpace(out)); err != nil || c.Gateway != "north-7" {
		t.Errorf("%s: %+v, %v", out, c, err)
	}
}

// FuzzParse: whatever comes, it is a command within the bounds or an error with a
// hint; and what is signed says the same as what is not.
func FuzzParse(f *testing.F) {
	for _, doc := range []string{
		`{"id":"1","topic":"a/b","payload":"on","ttl":"1m","qos":2,"retain":true}`,
		`{"id":"1","device":"pump","payload":{"on":[true,null,1e3]},"expires":1780315200.25}`,
		`{"id":"1","topic":"a","payload_base64":"AP8=","issued":"2026-06-01T12:00:00Z","sender":"ä","gateway":"g","reply":false}`,
		`{"command":"{}","hmac":"00"}`, `{"id":"1","id":"2"}`, "{", "[[[[[[", "\xff",
	} {
		f.Add([]byte(doc))
	}
	key := []byte("0123456789abcdef")
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := Parse(body)
		if err != nil {
			if !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), " — hint: ") {
				t.Fatalf("%v", err)
			}
		} else if c.ID == "" || len(c.ID) > maxID || c.QoS > 2 || (c.Topic == "") == (c.Device == "") || len(c.Payload) > len(body) || c.TTL < 0 ||
			c.Topic != "" && checkTopic(c.Topic) != "" {
			t.Fatalf("%+v", c)
		}
		if _, err := Keys(nil).open(body); err != nil && !strings.Contains(err.Error(), " — hint: ") {
			t.Fatalf("%v", err)
		}
		if len(body) == 0 || err != nil || len(Sign(body, key)) > MaxBody {
			return
		}
		signed, err := Keys{key}.open(Sign(body, key))
		if err == nil && signed.sum() != c.sum() || err != nil && strings.Contains(err.Error(), "signature") {
			t.Fatalf("signed it is %+v, %v", signed, err)
		}
	})
}

// FuzzNote: a note is an entry within the bounds, or none.
func FuzzNote(f *testing.F) {
	k := Clock{Boot: 1, Uptime: func() time.Duration { return time.Hour }, Now: func() time.Time { return noon }, Synced: func() bool { return true }}
	e := &entry{record: record{ID: "1", Topic: "a", State: Accepted, Sum: "x"}, expires: 2 * time.Hour, until: 3 * time.Hour}
	f.Add(new(memory).note(e, k).Value)
	f.Add([]byte(`{"topic":"a","Left":9,"Keep":9,"Boot":2,"Wall":-99999999999}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := parseNote(reading.Note{Key: notePrefix + "1", Value: value}, k)
		if err != nil {
			return
		}
		again, err := parseNote(new(memory).note(e, k), k)
		if err != nil {
			t.Fatal(err)
		}
		if d := again.until - e.until; e.until > time.Hour && (d < 0 || d > time.Second) {
			t.Fatalf("remembered until %v becomes %v", e.until, again.until)
		}
	})
}
