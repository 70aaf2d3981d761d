package encode

import (
	"slices"
	"strconv"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// head is what all readings of a message have in common.
type head struct {
	gateway string
	epoch   string // 16 hexadecimal digits
	lane    reading.Lane
	flat    []byte // the beginning of a JSON object of one reading
}

func (h *head) set(gateway string, epoch uint64, lane reading.Lane) {
	const digits = 16
	hex := strconv.FormatUint(epoch, 16)
	h.gateway, h.epoch, h.lane = gateway, "0000000000000000"[:digits-len(hex)]+hex, lane
	h.flat = append(h.flat[:0], '{')
	h.flat = append(h.appendJSON(h.flat), ',')
}

// appendJSON appends the members gateway, epoch and lane.
func (h *head) appendJSON(dst []byte) []byte {
	dst = appendText(append(dst, `"gateway":`...), h.gateway)
	dst = append(append(dst, `,"epoch":"`...), h.epoch...)
	dst = append(append(dst, `","lane":"`...), h.lane.String()...)
	return append(dst, '"')
}

// piece is what becomes one body: some of a message's readings.
type piece struct {
	head     *head
	readings []reading.Reading
	seqs     []uint64
	order    []int32 // which of them
}

func (p piece) len() int { return len(p.order) }

// at returns the i-th reading of the piece and its number.
func (p piece) at(i int) (seq uint64, r *reading.Reading) {
	k := p.order[i]
	return p.seqs[k], &p.readings[k]
}

// span returns the lowest and the highest number.
func (p piece) span() (first, last uint64) {
	first, _ = p.at(0)
	last = first
	for _, k := range p.order[1:] {
		first, last = min(first, p.seqs[k]), max(last, p.seqs[k])
	}
	return first, last
}

// parts collects the pieces of a message, one behind the other in one body.
type parts struct {
	format format
	body   []byte
	limit  int
	made   []part
	left   int // readings that are in none of them
}

// part is an uplink.Part whose body may still move.
type part struct {
	uplink.Part
	start, end int
}

// add appends the piece: as one part, or as several where that is too large.
func (t *parts) add(p piece) {
	start := len(t.body)
	body, left := t.format.append(t.body, p)
	if size := len(body) - start; size > t.limit && p.len() > 1 {
		t.split(p, size)
		return
	}
	t.body, t.left = body, t.left+left
	if left < p.len() {
		t.made = append(t.made, part{describe(p), start, len(body)})
	}
}

// split adds a piece of the size, which is too large, in as many pieces as will
// probably do.
func (t *parts) split(p piece, size int) {
	n := min(size/max(t.limit, 1)+1, p.len())
	for chunk := range slices.Chunk(p.order, (p.len()+n-1)/n) {
		p.order = chunk
		t.add(p)
	}
}

// list returns the parts. It is called once, when the body has come to rest.
func (t *parts) list() []uplink.Part {
	all := make([]uplink.Part, len(t.made))
	for i, m := range t.made {
		all[i] = m.Part
		all[i].Body = t.body[m.start:m.end:m.end]
	}
	return all
}

// describe says what is in a part. Readings that the format has no words for
// count, too: they are dealt with when the part is.
func describe(p piece) uplink.Part {
	_, r := p.at(0)
	out := uplink.Part{Count: p.len(), Device: r.Device, Metric: r.Metric, Time: r.Time}
	out.First, out.Last = p.span()
	if p.len() == 1 {
		out.Flags = r.Flags
	}
	for i := 1; i < p.len(); i++ {
		_, r := p.at(i)
		out.Time = max(out.Time, r.Time)
		if r.Device != out.Device {
			out.Device = ""
		}
		if r.Metric != out.Metric {
			out.Metric = ""
		}
	}
	return out
}
