package vm

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

var cuts = flag.Int("cuts", 0, "how many power cuts there are; 0: as VM_CUTS says, or 6")

// longestChapter is how many cuts a buffer has to survive before it is audited.
const longestChapter = 10

// storm is a machine whose power is cut again and again while sensors publish.
type storm struct {
	*machine
	seed   uint64
	random *rand.Rand
	disk   *volatileDisk
	shore  *shore
	ledger *firmwaresim.Ledger
	fleets []*fleet
	// first is how long first acknowledgements took after the power came.
	first    []time.Duration
	chapters int
}

// newStorm installs the gateway on a machine, which is off then.
func newStorm(t *testing.T) *storm {
	m := newMachine(t)
	seed := seedOf(t)
	s := &storm{machine: m, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), shore: m.openShore(), ledger: firmwaresim.NewLedger()}
	m.boot()
	m.install(m.deb())
	m.configure(m.site(s.shore.url, ""))
	m.shutDown()
	// The same systemd starts the same unit and what that needs, and nothing else of
	// a system: most of a storm is waiting for the machine.
	m.only = "systemd.unit=tidegate.service systemd.wants=vm-agent.service"
	return s
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	return seed
}

// startLoad starts everybody who publishes: in all lanes, with either promise.
func (s *storm) startLoad() {
	s.Helper()
	s.chapters++
	s.fleets = nil
	for _, cfg := range []firmwaresim.FleetConfig{
		{Prefix: "once-", QoS: 1, Devices: 16, Rate: 20},
		{Prefix: "exactly-", QoS: 2, Devices: 4, Rate: 10},
		{Prefix: "alarm-", QoS: 1, Devices: 2, Rate: 5, Topic: "alarms/{device}"},
		{Prefix: "bulk-", QoS: 2, Devices: 2, Rate: 10, Topic: "bulk/{device}"},
	} {
		cfg.Prefix = fmt.Sprintf("c%d-%s", s.chapters, cfg.Prefix)
		s.fleets = append(s.fleets, s.startFleet(cfg, s.ledger))
	}
}

// round boots the machine and cuts its power: while it starts, or in the middle of
// the load, when there is something to lose.
func (s *storm) round() {
	s.Helper()
	s.changeCable()
	s.start()
	if s.random.IntN(6) == 0 && len(s.first) > 0 {
		s.pass(time.Duration(s.random.Int64N(int64(slices.Max(s.first)))))
		s.cut()
		return
	}
	if !s.fleets[0].awaitAck(s.patience()) {
		s.explain()
		s.Fatalf("nothing was acknowledged within %v", s.patience())
	}
	s.first = append(s.first, time.Since(s.power.on))
	s.pass(time.Duration(20 * float64(time.Millisecond) * math.Pow(250, s.random.Float64()))) // up to 5 s
	s.disk.awaitWrite(time.Minute)
	s.pass(time.Duration(s.random.Int64N(int64(flushTime))))
	s.cut()
	s.Logf("cut %d, the first acknowledgement came after %v", s.disk.total.Cut, s.first[len(s.first)-1].Round(100*time.Millisecond))
}

// changeCable cuts the way to the cloud most of the time, so that what is
// acknowledged is nowhere but on the machine's disk.
func (s *storm) changeCable() {
	if s.random.IntN(4) == 0 {
		s.shore.cable.Restore()
	} else {
		s.shore.cable.Cut()
	}
}

// settle boots for the last time of a chapter, and lets everything arrive.
func (s *storm) settle() firmwaresim.Verdict {
	s.Helper()
	s.shore.cable.Restore()
	s.boot()
	for _, f := range s.fleets {
		if !f.awaitAck(s.patience()) {
			s.explain()
			s.Fatalf("nothing was acknowledged within %v", s.patience())
		}
	}
	for _, f := range s.fleets {
		f.stop()
	}
	s.shore.awaitDelivery()
	return s.shore.audit(s.ledger)
}

// TestPowerCutsLoseNothing cuts the power of a whole machine while sensors publish
// to the gateway on it. Its disk has a volatile write cache, of which a cut keeps a random
// part. Everything that was acknowledged is in the cloud in the end, once.
func TestPowerCutsLoseNothing(t *testing.T) {
	want := *cuts
	if want == 0 {
		want = 6
		if text := os.Getenv("VM_CUTS"); text != "" {
			var err error
			if want, err = strconv.Atoi(text); err != nil || want < 1 {
				t.Fatalf("VM_CUTS=%s: a number, from 1", text)
			}
		}
	}
	s := newStorm(t)
	s.disk, _ = s.makeVolatile(s.seed, false)
	begun := time.Now()
	for done := 0; done < want && !t.Failed(); {
		s.startLoad()
		for range min(longestChapter, want-done) {
			s.round()
			done++
		}
		v := s.settle()
		if v.Lost > 0 || v.Acked == 0 {
			t.Errorf("audit: %v; the first: %v", v, v.FirstLost)
		}
		s.shore.auditLanes()
		if said := s.must("cat /sys/block/vda/queue/write_cache; systemctl is-active tidegate"); said != "write back\nactive" {
			t.Errorf("write cache and gateway: %s", said)
		}
		fmt.Printf("%s: %d cuts: %v; %v a cut\n", s.arch, done, v, (time.Since(begun) / time.Duration(done)).Round(100*time.Millisecond))
		s.shutDown()
	}
	s.checkConsole()
	s.report()
}

// checkConsole looks for what no power cut may lead to.
func (s *storm) checkConsole() {
	s.Helper()
	console := s.console()
	for _, never := range []string{"EXT4-fs error", "Kernel panic", "I/O error", "UNEXPECTED INCONSISTENCY"} {
		if i := strings.Index(console, never); i >= 0 {
			s.Errorf("the machine said %q: %s", never, console[max(0, i-200):min(len(console), i+500)])
		}
	}
}

// manyCuts are enough for a share of them to say something.
const manyCuts = 6

// proves says why a run of cuts proves nothing, or nothing when it does. Cuts in the load are made
// when something is not flushed, and on a busy machine some of them come too late; one cut in
// six comes while the machine starts, which may have nothing to write then. A third of
// all leaves room for both and for chance. How much of what a cut has come upon is lost, the seed
// decides, and now and then nothing is: more than one cut that lost something would be a bar for dice.
func (d *volatileDisk) proves() string {
	switch {
	case d.torn == 0:
		return "no cut lost anything that was not flushed"
	case d.total.Cut >= manyCuts && 3*d.met < d.total.Cut:
		return fmt.Sprintf("only %d of %d cuts came upon something that was not flushed: less than a third", d.met, d.total.Cut)
	}
	return ""
}

func (s *storm) report() {
	if why := s.disk.proves(); why != "" {
		s.Errorf("nothing is proved: %s", why)
	}
	slices.Sort(s.first)
	d := s.disk.total
	fmt.Printf("%s: %d of %d cuts came upon sectors that were not flushed, and %d lost some: of %d sectors %d were kept and %d lost; %d writes, %d flushes\n",
		s.arch, s.disk.met, d.Cut, s.disk.torn, d.Unflushed, d.Kept, d.Lost, d.Writes, d.Flushes)
	if n := len(s.first); n > 0 {
		fmt.Printf("%s: from power to first acknowledgement: %v (p50), %v at most\n", s.arch,
			s.first[n/2].Round(100*time.Millisecond), s.first[n-1].Round(100*time.Millisecond))
	}
}

// TestAuditFindsWhatALyingDiskLoses is the control: a disk that answers flushes and
// does nothing must lead to losses, and the audit must see them. What such a disk
// leaves may not even start, which proves nothing, or may be whole by chance.
func TestAuditFindsWhatALyingDiskLoses(t *testing.T) {
	s := newStorm(t)
	whole := s.file("whole.ext4")
	s.copyDisk(s.machine.disk.(plainDisk).file, whole)
	const most = 8
	for try := range uint64(most) {
		s.copyDisk(whole, s.machine.disk.(plainDisk).file)
		if v := s.lie(s.seed + try); v.Lost > 0 {
			fmt.Printf("%s: the control, a disk that lies about flushes: %v\n", s.arch, v)
			return
		}
	}
	t.Errorf("the audit found nothing in %d attempts", most)
}

// lie has sensors publish to a machine whose disk lies, cuts its power, and audits
// what is there, if it starts.
func (s *storm) lie(seed uint64) (v firmwaresim.Verdict) {
	s.Helper()
	var makePlain func()
	s.disk, makePlain = s.makeVolatile(seed, true)
	s.ledger = firmwaresim.NewLedger()
	s.shore.renew()
	s.startLoad()
	s.shore.cable.Cut()
	s.start()
	if !s.fleets[0].awaitAck(s.patience()) {
		s.Fatal("nothing was acknowledged")
	}
	s.pass(3 * time.Second)
	for _, f := range s.fleets {
		f.stop()
	}
	s.cut()
	s.Logf("the disk lied about %d sectors, and lost %d", s.disk.total.Unflushed, s.disk.total.Lost)
	s.shore.cable.Restore()
	s.start()
	if s.startsAgain() && s.disk.total.Lost > 0 {
		v = s.shore.audit(s.ledger)
		s.Logf("it starts again: %v", v)
	}
	s.cut()
	makePlain()
	return v
}

// startsAgain says whether a damaged machine starts, and delivers what it has.
func (s *storm) startsAgain() bool {
	s.Helper()
	select {
	case <-s.power.agent.ready:
	case <-s.power.ended:
		s.Log("the machine gives up: its file system is gone")
		return false
	case <-time.After(s.patience() / 4):
		s.Log("the machine does not start")
		return false
	}
	code, said, err := s.power.agent.run(s.timed("it delivers", delivered), s.patience())
	if code != 0 || err != nil {
		s.Logf("it does not start: %v %s", err, said)
	}
	return code == 0 && err == nil
}
