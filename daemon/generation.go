package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/mqttin"
)

// generation is what a configuration makes of a gateway: its doors and ways out. The
// buffer, the page and what devices have announced are there before the first
// generation and behind the last one. What is the same in two generations is not
// made again: it runs on. A generation never changes once others see it.
type generation struct {
	cfg      Config
	doors    []*door
	links    []*link
	commands *commands // nil if none are allowed
	// network is the ways out that the links use.
	network network
	// certificates are those that it shows.
	certificates []watched
	// before is what generations before this one have counted in what is no more.
	before bygone
}

// delivered is what a link has delivered.
type delivered struct {
	acked, sent, leftOut uint64
	last                 time.Time
}

// delivered is what the link has delivered, and all that had its name before.
func (l *link) delivered() delivered {
	f := l.forwarder.Stats()
	return delivered{l.before.acked + f.AckedReadings, l.before.sent + f.SentBytes, l.before.leftOut + l.leftOut(), later(l.before.last, f.LastAck)}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// taken is how many readings the door has taken, and all that had its name before.
func (d *door) taken() uint64 { return d.before + d.intake.Stats().Taken }

// bygone is what was counted by doors and ways out that are no more, so that rates
// over the whole run stay right.
type bygone struct {
	readings uint64  // taken by doors
	sent     uint64  // bytes of messages
	wire     float64 // bytes over ways out
}

// current is the generation that runs.
func (d *Daemon) current() *generation { return d.generation.Load() }

// part is what a generation is made of: it runs by itself, and runs on in the next
// generation if that would make it of the same.
type part struct {
	name   string
	made   []any // of this
	cancel context.CancelFunc
	ended  chan struct{}
}

// of is what something is made of.
func of(parts ...any) []any { return parts }

// is says whether the part is there, and made of that.
func (p *part) is(made []any) bool { return p != nil && reflect.DeepEqual(p.made, made) }

// begin runs the part until ctx or the part ends.
func (p *part) begin(ctx context.Context, run func(ctx context.Context)) {
	ctx, p.cancel = context.WithCancel(ctx)
	ended := make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		run(ctx)
	}()
}

// end ends parts, all at once, and returns when they have ended.
func end(parts ...*part) {
	for _, p := range parts {
		if p.cancel != nil {
			p.cancel()
		}
	}
	for _, p := range parts {
		if p.ended != nil {
			<-p.ended
		}
	}
}

// door is a source under supervision.
type door struct {
	part
	source ingest.Source
	intake *ingest.Intake
	before uint64     // readings taken by those that had the name before
	chains *chains    // of its readings on their way to the buffer
	failed chan error // receives when the source has failed, and nobody has heard of that yet
}

// named returns the door of that name, nil if there is none.
func (g *generation) door(name string) *door {
	for _, d := range g.doors {
		if d.name == name {
			return d
		}
	}
	return nil
}

func (g *generation) link(name string) *link {
	for _, l := range g.links {
		if l.name == name {
			return l
		}
	}
	return nil
}

// broker is the door that commands go out of.
func (g *generation) broker() *mqttin.Source {
	if d := g.door("mqtt"); d != nil {
		return d.source.(*mqttin.Source)
	}
	return nil
}

// is makes a nil door no part of anything.
func (d *door) is(made []any) bool { return d != nil && d.part.is(made) }

func (l *link) is(made []any) bool { return l != nil && l.part.is(made) }

// doorsBut returns the parts of the doors that other does not have, and linksBut
// those of the links.
func (g *generation) doorsBut(other *generation) (all []*door) {
	for _, d := range g.doors {
		if !slices.Contains(other.doors, d) {
			all = append(all, d)
		}
	}
	return all
}

func (g *generation) linksBut(other *generation) (all []*link) {
	for _, l := range g.links {
		if !slices.Contains(other.links, l) {
			all = append(all, l)
		}
	}
	return all
}

// refined is what all chains have done; nil if there are none.
func (g *generation) refined() *dashboard.Refined {
	var all chains
	for _, d := range g.doors {
		all.all = append(all.all, d.chains.all...)
	}
	return all.status()
}

// builder makes a generation.
type builder struct {
	*Daemon
	*generation
	old *generation
}

// build makes what the configuration asks for and old does not have. Nothing of it
// runs yet, and nothing of old is touched.
func (d *Daemon) build(cfg Config, old *generation) (*generation, error) {
	b := &builder{d, &generation{cfg: cfg, before: old.before}, old}
	if err := errors.Join(b.buildLinks(), b.buildCommands(), b.buildDoors()); err != nil {
		b.generation.discard(old)
		return nil, err
	}
	b.watchCertificates()
	return b.generation, nil
}

// discard lets go of what was made in vain.
func (g *generation) discard(old *generation) {
	for _, l := range g.linksBut(old) {
		l.path.Leave()
		_ = closer(l.sink)() // which never connected
	}
	if g.commands != old.commands {
		for _, k := range g.commands.all() {
			k.path.Leave()
		}
	}
}

// door makes a door with an intake of its own, which counts what comes in there,
// unless there is one that was made of the same. Filters of the door that lean on
// what custody has are told when it has not.
func (b *builder) door(name string, made []any, v vocabulary, source func(v vocabulary) (ingest.Source, []func(), error)) error {
	if same := b.old.door(name); same.is(made) {
		b.doors = append(b.doors, same)
		return nil
	}
	v.chains = &chains{}
	s, forget, err := source(v)
	if err != nil {
		return err
	}
	intake := ingest.NewIntake(custody{b.buffer, b.came}, b.bench.sampling(name, b.origins.of(name, b.hub)), time.Now).WithMemory(b.memory)
	for _, f := range forget {
		intake.OnLoss(f)
	}
	b.doors = append(b.doors, &door{
		part: part{name: name, made: made}, source: s, intake: intake, chains: v.chains, failed: make(chan error, 1),
	})
	return nil
}

// told is what the tables say that payloads of these meanings need.
func (c Config) told(all ...meaning) []any {
	var decoders Decoders
	var steps [][]Refine
	plain := plainDecoders()
	for _, m := range all {
		if plain[m.decode] == nil {
			decoders = c.Decoder // a table, which may name others
		}
		for _, name := range m.refine {
			steps = append(steps, c.refinesOf(name))
		}
	}
	return of(decoders, steps)
}

func (c Config) toldOf(routes []Route) []any {
	var all []meaning
	for _, r := range routes {
		all = append(all, r.meaning())
	}
	return c.told(all...)
}

// keptFile is a file that is read once, and as whom it was found.
type keptFile struct {
	path string
	size int64
	at   time.Time
	kept bool
}

// secrets are the files of a table that are read when what it makes is made. Those
// that are read again by themselves when they change are none of them.
func secrets(table any) (all []keptFile) {
	keeper, ok := table.(secretKeeper)
	if !ok {
		return nil
	}
	for _, path := range keeper.secretFiles() {
		all = append(all, keptFileAt(path))
	}
	return all
}

func keptFileAt(path string) keptFile {
	info, err := os.Stat(path)
	if err != nil {
		return keptFile{path: path}
	}
	return keptFile{path, info.Size(), info.ModTime(), info.Mode()&fs.ModeType == 0}
}
