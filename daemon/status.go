package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest/coapin"
	"github.com/tidegate/tidegate/ingest/hostin"
	"github.com/tidegate/tidegate/ingest/httpin"
	"github.com/tidegate/tidegate/ingest/linein"
	"github.com/tidegate/tidegate/ingest/modbusin"
	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/cardlife"
	"github.com/tidegate/tidegate/uplink"
)

// status is the state of the gateway, as the page, GET /api/v1/status and
// "tidegate status" show it.
func (d *Daemon) status() dashboard.Status {
	g := d.current()
	s := dashboard.Status{
		Gateway: d.gateway,
		Version: Version,
		Started: d.started.UnixMilli(),
		Now:     time.Now().UnixMilli(),
		Clock:   clockState().String(),
		Buffer:  d.bufferStatus(g),
		Links:   []dashboard.Link{}, // a list in JSON, even when it is empty
		Network: []dashboard.Carrier{},
		Itself:  g.cfg.Ingest.Host.itself(),
	}
	for _, l := range g.links {
		lag := l.cursor.Lag()
		s.Links = append(s.Links, l.status(lag))
		s.Buffer.Waiting = max(s.Buffer.Waiting, lag.Readings)
		s.Buffer.BytesUsed = max(s.Buffer.BytesUsed, lag.Bytes)
		if oldest := unixMilli(lag.Oldest); oldest != 0 && (s.Buffer.OldestUnsent == 0 || oldest < s.Buffer.OldestUnsent) {
			s.Buffer.OldestUnsent = oldest
		}
	}
	d.machineStatus(&s, g.cfg.Gateway.DataDir)
	s.Doors = d.bench.pausedDoors(g.doorStatus())
	for i := range s.Doors {
		d.spellOf(&s.Doors[i])
	}
	g.networkStatus(&s, time.Since(d.started))
	s.Refined = g.refined()
	s.Commands = g.commands.status()
	s.Access = d.entrance.status()
	s.Certificates = g.certificateStatus()
	s.Revision, s.Trial = d.texts.Load().revision, d.trialStatus()
	s.Identify = d.signal.How()
	s.Problems = slices.Concat(d.fallen(), d.versionProblems(), problems(s), d.entrance.problems())
	return s
}

func (d *Daemon) bufferStatus(g *generation) dashboard.Buffer {
	b := d.buffer.Stats()
	s := dashboard.Buffer{
		BytesMax: b.MaxBytes, Lost: b.Lost, Evicted: b.LostBy[buffer.ReasonEvicted],
		FlashWritten: b.FlashBytes, Commits: b.Commits,
		FlashDay: b.FlashDay, FlashBudget: b.FlashBudget, FlashTokens: b.FlashTokens,
		Wear: cardlife.Of(g.cfg.Gateway.DataDir), Life: d.cardLife(g.cfg.Gateway.DataDir, b.FlashDay), Losses: losses(b.Losses), Refused: b.Refused,
		Profile: g.cfg.Buffer.Profile, OverBudget: b.OverBudget, State: dashboard.OK,
	}
	for reason, n := range b.LostBy {
		if n > 0 {
			if s.LostBy == nil {
				s.LostBy = make(map[string]uint64)
			}
			s.LostBy[reason] = n
		}
	}
	if len(g.links) == 0 {
		s.Waiting, s.BytesUsed = b.Held, b.HeldBytes
	}
	if b.Problem != "" {
		s.State = "nothing is acknowledged: " + b.Problem
	}
	return s
}

// settled is how long the daemon must run before what it writes is a rate.
const settled = time.Hour

// cardLife is how long the medium lasts at the rate of this run.
func (d *Daemon) cardLife(dir string, written uint64) string {
	up := min(time.Since(d.started), 24*time.Hour)
	if up < settled {
		return ""
	}
	return cardlife.Left(dir, float64(written)/up.Hours()*24)
}

func losses(gaps []buffer.Gap) []dashboard.Loss {
	all := []dashboard.Loss{}
	for _, g := range gaps {
		all = append(all, dashboard.Loss{
			Lane: g.Lane, Reason: g.Reason, Count: g.Count,
			From: g.From / int64(time.Millisecond), To: g.To / int64(time.Millisecond), Links: g.Sinks,
		})
	}
	return all
}

func (l *link) status(lag buffer.Lag) dashboard.Link {
	f, all := l.forwarder.Stats(), l.delivered()
	s := dashboard.Link{
		Name: l.name, Kind: l.kind, Target: l.target, Since: unixMilli(f.Since), LastError: f.LastError, LastAck: unixMilli(all.last),
		Acked: all.acked, SentBytes: all.sent, Waiting: lag.Readings, Oldest: unixMilli(lag.Oldest), InFlight: f.InFlight, LeftOut: all.leftOut,
		Messages: f.SentMessages, Retries: f.Retries, SetAside: f.Quarantined,
	}
	switch f.State {
	case uplink.Down:
		s.State = dashboard.LinkDown
	case uplink.Up:
		s.State = dashboard.LinkUp
	case uplink.Held:
		s.State = dashboard.LinkHeld
	default:
		s.State = dashboard.LinkIdle
		if !f.LastAck.IsZero() {
			s.State = dashboard.LinkUp
		}
	}
	return s
}

// unixMilli is the time in Unix milliseconds, 0 for none.
func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// answerTime is how long status waits for a door that is just opening.
const answerTime = 100 * time.Millisecond

func (g *generation) doorStatus() []dashboard.Door {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()

	all := []dashboard.Door{}
	for _, door := range g.doors {
		if _, itself := door.source.(*hostin.Source); itself && !g.cfg.Ingest.Host.Keep {
			continue // nothing comes in there
		}
		s := dashboard.Door{Name: door.name, State: dashboard.OK, Readings: door.taken()}
		switch source := door.source.(type) {
		case *mqttin.Source:
			m := source.Stats()
			s.Kind, s.Address = "mqtt", g.cfg.Ingest.MQTT.Listen
			s.Rejected, s.Opaque, s.Clients = m.Dropped, m.Opaque, m.Clients
			s.BadLogins, s.Denied, s.TurnedAway, s.Malformed = m.BadLogins, m.Denied, m.TurnedAway, m.Malformed
			s.NotStored, s.Undelivered = m.NotStored, m.Undelivered
			s.NotRetained, s.Oversubscribed, s.Forgotten, s.Slowed = m.NotRetained, m.Oversubscribed, m.Forgotten, m.Slowed
			listening(ctx, &s, source)
		case *httpin.Source:
			h := source.Stats()
			s.Kind, s.Address = "http", g.cfg.Ingest.HTTP.Listen
			s.Rejected, s.Opaque, s.Clients = h.Dropped, h.Opaque, h.Clients
			s.BadLogins, s.Denied, s.TurnedAway, s.NotStored = h.BadLogins, h.Denied, h.TurnedAway, h.NotStored+h.Overloaded
			s.TooLarge = h.TooLarge
			listening(ctx, &s, source)
		case *hostin.Source:
			s.Kind = "host"
		case *modbusin.Source:
			modbusStatus(&s, source)
		case *serialin.Source:
			serialStatus(&s, g.cfg.Ingest.Serial, source.Stats())
		case *linein.Source:
			l := source.Stats()
			s.Kind = "line"
			address, dialled := source.Address()
			s.Address = address
			s.Rejected, s.Opaque, s.Clients = l.Dropped, l.Opaque, l.Clients
			s.TurnedAway, s.NotStored, s.Malformed, s.Slowed = l.TurnedAway, l.NotStored, l.Lost+l.Slow, l.Slowed
			s.Damaged, s.Overflowed = l.Frames.Damage(), l.Overrun+l.Missed
			if listening(ctx, &s, source); dialled && s.State != dashboard.OK {
				s.State = "is not connected"
			}
		case *coapin.Source:
			c := source.Stats()
			s.Kind, s.Address = "coap", cmp.Or(g.cfg.Ingest.CoAP.Listen, g.cfg.Ingest.CoAP.DTLSListen)
			s.Rejected, s.Opaque, s.Clients = c.Dropped, c.Opaque, c.Endpoints+c.Sessions
			s.BadLogins, s.TurnedAway, s.NotStored, s.Slowed = c.BadLogins, c.TurnedAway, c.NotStored, c.Slowed
			s.Malformed, s.Overflowed, s.Repeated = c.Malformed, c.Overflowed, c.Repeated
			listening(ctx, &s, source)
			if plain, secure := source.Addrs(ctx); plain != nil && secure != nil {
				s.Address += ", " + secure.String()
			}
		}
		s.Remarks = remarks(s)
		all = append(all, s)
	}
	return all
}

// spellOf fills in how long the door has been as it is.
func (d *Daemon) spellOf(s *dashboard.Door) {
	spell := d.spells.of("source", s.Name)
	s.Since, s.Breaks, s.BrokeAt, s.LastError = unixMilli(spell.since), spell.breaks, unixMilli(spell.at), spell.err
	if spell.broken && s.Line == nil && len(s.Slaves) == 0 { // those know better
		s.State = spell.err
	}
}

// notListening is the state of a door that nobody can reach yet.
const notListening = "does not listen yet"

// listening says where a door listens.
func listening(ctx context.Context, s *dashboard.Door, source interface {
	Addr(context.Context) net.Addr
}) {
	if addr := source.Addr(ctx); addr != nil {
		s.Address = addr.String()
		return
	}
	s.State = notListening
}

// lossProblems puts into sentences what was lost since the start. What somebody
// discarded, or can still send again, is no loss to be told of.
func lossProblems(b dashboard.Buffer) (all []string) {
	for _, reason := range buffer.Reasons() {
		hint := "see dmesg, and \"tidegate buffer check\": the medium may be worn out"
		switch reason {
		case buffer.ReasonPurged, buffer.ReasonQuarantined:
			continue
		case buffer.ReasonEvicted, buffer.ReasonRefused:
			hint = "raise buffer.max_bytes if outages are long"
		case buffer.ReasonExpired:
			hint = "raise the lane's max_age if outages are long"
		}
		if n := b.LostBy[reason]; n > 0 {
			all = append(all, fmt.Sprintf("%s lost (%s) and reported upstream — hint: %s", wereLost(n), reason, hint))
		}
	}
	return all
}

// problems puts into sentences what somebody should know and no other part of
// the status says, most urgent first.
func problems(s dashboard.Status) []string {
	all := []string{}
	if s.Buffer.State != dashboard.OK {
		what, hint, _ := strings.Cut(s.Buffer.State, " — hint: ")
		all = append(all, what+" — hint: "+cmp.Or(hint, "make room on the disk, or restore the link"))
	}
	all = append(all, lossProblems(s.Buffer)...)
	if s.Buffer.Refused > 0 {
		all = append(all, fmt.Sprintf("%s of readings that an uplink refused for good: set aside, and reported upstream — hint: \"tidegate quarantine ls\" says why, and can send them again", count(uint64(s.Buffer.Refused), "block")))
	}
	all = append(all, certificateProblems(s)...)
	all = append(all, networkProblems(s)...)
	all = append(all, silentSlaves(s.Doors)...)
	if len(s.Links) == 0 {
		all = append(all, "no uplink is configured: readings are kept until the buffer is full — hint: add [[uplink.http]]")
	}
	for _, l := range s.Links {
		if l.LeftOut > 0 {
			all = append(all, fmt.Sprintf("%d readings for the uplink %s were left out, which its encoding has no words for — hint: send opaque payloads, NaN and infinities with another encoding", l.LeftOut, l.Name))
		}
	}
	all = append(all, commandProblems(s.Commands)...)
	all = append(all, lineProblems(s)...)
	if s.Refined != nil && s.Refined.Untracked > 0 {
		all = append(all, fmt.Sprintf("%d readings passed their filters because there are too many series — hint: do devices choose a new name each time? give routes [[refine]] names of their own", s.Refined.Untracked))
	}
	if s.Buffer.OverBudget {
		all = append(all, "flash is written faster than flash_budget allows — hint: raise max_ack_delay, or the budget")
	}
	return all
}
