//go:build !nokafka

package kafkaout

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// seen is a record as kcat shows it: that is librdkafka, which is nobody's
// relative here.
type seen struct {
	Partition int
	TS        int64
	Key       string
	Payload   string
	Headers   []string
}

// kcat consumes a topic from its begin to its end.
func kcat(t *testing.T, broker, topic string) (all []seen) {
	t.Helper()
	program, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed (Debian: kcat)")
	}
	out, err := exec.CommandContext(t.Context(), program, "-C", "-b", broker, "-t", topic, "-e", "-q", "-J").Output()
	if err != nil {
		t.Fatalf("kcat: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		var s seen
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("kcat says %q: %v", line, err)
		}
		all = append(all, s)
	}
	return all
}

func TestOthersReadWhatWasProduced(t *testing.T) {
	for _, compression := range Compressions() {
		t.Run(compression, func(t *testing.T) {
			cluster := newCluster(t, kfake.SeedTopics(3, "plant"))
			cfg := Config{Brokers: cluster.ListenAddrs(), Topic: parsed(t, "plant"), Key: parsed(t, "{device}"), Compression: compression}
			m, keys := cut(100)
			m.ContentType = "application/json"
			if err := newSink(t, cfg).Send(within(t), m); err != nil {
				t.Fatal(err)
			}
			all := kcat(t, cluster.ListenAddrs()[0], "plant")
			if len(all) != 100 {
				t.Fatalf("kcat read %d records, want 100", len(all))
			}
			found := make(map[string]seen)
			for _, s := range all {
				found[s.Headers[1]] = s
			}
			partitions := make(map[string]int)
			for i, p := range m.Parts {
				s := found[keys[i]]
				want := seen{Partition: s.Partition, TS: p.Time / int64(time.Millisecond), Key: p.Device, Payload: string(p.Body),
					Headers: []string{KeyHeader, keys[i], typeHeader, "application/json"}}
				if fmt.Sprint(s) != fmt.Sprint(want) {
					t.Fatalf("record %d: %+v, want %+v", i, s, want)
				}
				if before, ok := partitions[p.Device]; ok && before != s.Partition {
					t.Errorf("%s is in the partitions %d and %d", p.Device, before, s.Partition)
				}
				partitions[p.Device] = s.Partition
			}
		})
	}
}

// Others put the same key into the same partition.
func TestKeysMeanTheSamePartitionToOthers(t *testing.T) {
	cluster := newCluster(t, kfake.SeedTopics(12, "plant"))
	broker := cluster.ListenAddrs()[0]
	m, _ := cut(7)
	if err := newSink(t, Config{Brokers: []string{broker}, Topic: parsed(t, "plant"), Key: parsed(t, "{device}")}).Send(within(t), m); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed (Debian: kcat)")
	}
	theirs := exec.CommandContext(t.Context(), program, "-P", "-b", broker, "-t", "plant", "-K", ":", "-X", "partitioner=murmur2_random")
	var lines strings.Builder
	for _, p := range m.Parts {
		fmt.Fprintf(&lines, "%s:theirs\n", p.Device)
	}
	theirs.Stdin = strings.NewReader(lines.String())
	if out, err := theirs.CombinedOutput(); err != nil {
		t.Fatalf("kcat: %v %s", err, out)
	}
	partitions := make(map[string]int)
	for _, s := range kcat(t, broker, "plant") {
		if before, ok := partitions[s.Key]; ok && before != s.Partition {
			t.Errorf("%s is in the partitions %d and %d", s.Key, before, s.Partition)
		}
		partitions[s.Key] = s.Partition
	}
	if len(partitions) != 7 {
		t.Errorf("%d keys, want 7", len(partitions))
	}
}
