package firmwaresim

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
)

// maxListed is how many lost samples a Verdict names.
const maxListed = 10

// maxRow is the longest row of an export, in bytes.
const maxRow = 16 << 20

// Verdict is what an audit found. A sample is one value of a device's counter.
type Verdict struct {
	// Acked samples are in the ledger; Delivered ones of these are in the
	// cloud; Lost ones are not.
	Acked, Delivered, Lost uint64
	// Twice counts rows too many: the key of another row again, or a sample
	// more often than its device published it.
	Twice uint64
	// Republished counts the further publishes of the devices: each may bring
	// a row of its own.
	Republished uint64
	// Unclaimed samples are in the cloud though their acknowledgement never
	// reached the device, or at least not the ledger. There is nothing wrong
	// with that.
	Unclaimed uint64
	// Invented samples are in the cloud though their device says that it never
	// sent them: noise was taken for a reading.
	Invented uint64
	// FirstLost names the first lost samples, by device and counter.
	FirstLost []Sample
}

// Sample names one sample.
type Sample struct {
	Device string
	Seq    uint64
}

// OK says that nothing is lost, nothing there twice and nothing invented.
func (v Verdict) OK() bool { return v.Lost == 0 && v.Twice == 0 && v.Invented == 0 }

// String is the one line that matters.
func (v Verdict) String() string {
	line := fmt.Sprintf("%d acknowledged, %d delivered, %d lost, %d twice", v.Acked, v.Delivered, v.Lost, v.Twice)
	if v.Invented > 0 {
		line += fmt.Sprintf(", %d invented", v.Invented)
	}
	if v.Republished > 0 {
		line += fmt.Sprintf(" (%d published again by the devices)", v.Republished)
	}
	return line
}

// Audit holds a cloud's export against a ledger. The export is NDJSON, one
// reading a row, in any order, with at least these fields:
//
//	{"gateway":"g","epoch":"1f","lane":"normal","seq":123,"device":"d","metric":"seq","value":17}
//
// A row that cannot be read is an error: a damaged export proves nothing. Nobody
// may be writing to the ledger.
func Audit(ledger *Ledger, export io.Reader) (Verdict, error) {
	a := auditor{ledger: ledger, keys: make(map[string]*intervals), delivered: make(map[string]*delivery)}
	rows := bufio.NewScanner(export)
	rows.Buffer(make([]byte, 64<<10), maxRow)
	for number := 1; rows.Scan(); number++ {
		if err := a.take(rows.Bytes()); err != nil {
			return Verdict{}, fmt.Errorf("export row %d: %w", number, err)
		}
	}
	if err := rows.Err(); err != nil {
		return Verdict{}, fmt.Errorf("read export: %w", err)
	}
	return a.verdict(), nil
}

// delivery is what the cloud has of one device.
type delivery struct {
	once    intervals
	further map[uint64]int // rows beyond the first, of the few samples that have any
}

type auditor struct {
	ledger    *Ledger
	row       exportRow
	keys      map[string]*intervals // seq by gateway, epoch and lane
	key       []byte                // scratch
	delivered map[string]*delivery  // by device
	twice     uint64
}

func (a *auditor) take(line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	if err := a.row.parse(line); err != nil {
		return err
	}
	if !a.row.hasSeq || len(a.row.gateway) == 0 {
		return fmt.Errorf("it has no gateway or no seq: %.100s", line)
	}
	if !a.firstOfKey() {
		a.twice++
		return nil
	}
	if string(a.row.metric) == "seq" {
		return a.sample()
	}
	return nil
}

func (a *auditor) firstOfKey() bool {
	a.key = append(append(a.key[:0], a.row.gateway...), 0)
	a.key = append(append(a.key, a.row.epoch...), 0)
	a.key = append(a.key, a.row.lane...)
	seen := a.keys[string(a.key)]
	if seen == nil {
		seen = new(intervals)
		a.keys[string(a.key)] = seen
	}
	return seen.add(span{a.row.seq, a.row.seq}) == 1
}

func (a *auditor) sample() error {
	value, err := strconv.ParseFloat(string(a.row.value), 64)
	if err != nil || value < 0 || value != math.Trunc(value) {
		return fmt.Errorf("device %s: the counter reads %s", a.row.device, a.row.value)
	}
	d := a.delivered[string(a.row.device)]
	if d == nil {
		d = &delivery{further: make(map[uint64]int)}
		a.delivered[string(a.row.device)] = d
	}
	seq := uint64(value)
	if d.once.add(span{seq, seq}) == 0 {
		d.further[seq]++
	}
	return nil
}

func (a *auditor) verdict() Verdict {
	v := Verdict{Twice: a.twice}
	v.Acked, v.Republished = a.ledger.Count()
	all := uint64(0)
	for _, d := range a.delivered {
		all += d.once.count
	}
	for _, account := range a.ledger.sorted() {
		d := a.delivered[account.device]
		if d == nil {
			d = new(delivery)
		}
		for lost := range account.acked.without(&d.once) {
			v.Lost += lost.last - lost.first + 1
			for seq := lost.first; seq <= lost.last && len(v.FirstLost) < maxListed; seq++ {
				v.FirstLost = append(v.FirstLost, Sample{account.device, seq})
			}
		}
	}
	for device, d := range a.delivered {
		account := a.ledger.Account(device)
		for seq, further := range d.further {
			v.Twice += uint64(max(0, further-account.again[seq]))
		}
		v.Invented += invented(d, account)
	}
	v.Delivered = v.Acked - v.Lost
	v.Unclaimed = all - v.Delivered
	return v
}

// invented counts the samples of a device that it did not send.
func invented(d *delivery, account *Account) (n uint64) {
	if account.sent.count == 0 {
		return 0
	}
	for extra := range d.once.without(&account.sent) {
		n += extra.last - extra.first + 1
	}
	return n
}
