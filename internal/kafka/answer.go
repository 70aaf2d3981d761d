package kafka

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrAnswer says that an answer is not what the protocol has at that place.
var ErrAnswer = errors.New("the answer is not one of Kafka's")

// reader takes an answer to pieces. What is not there is zero, and bad then.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// text reads a string, which may be missing: that is "".
func (r *reader) text() string {
	n := r.int16()
	if n == -1 {
		return ""
	}
	return string(r.take(int(n)))
}

// bytes reads bytes, which may be missing: that is nil.
func (r *reader) bytes() []byte {
	n := r.int32()
	if n == -1 {
		return nil
	}
	return r.take(int(n))
}

// count reads how many things follow that have so many bytes each at the least.
// More than can follow are none, so that no answer makes us allocate much more
// than its size.
func (r *reader) count(least int) int {
	n := r.int32()
	if n == -1 { // an array that is missing
		return 0
	}
	if n < 0 || int(n) > len(r.rest)/least {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(n)
}

// ids passes over an array of brokers' numbers, and returns how many there were.
func (r *reader) ids() int {
	n := r.count(4)
	r.take(4 * n)
	return n
}

func (r *reader) throttle() time.Duration { return time.Duration(r.int32()) * time.Millisecond }

// end returns ErrAnswer unless everything was there, and nothing else.
func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return ErrAnswer
	}
	return nil
}

// ParseVersions reads the answer to APIVersions, version 0. A Code is an error.
func ParseVersions(answer []byte) (Versions, error) {
	r := reader{rest: answer}
	code := Code(r.int16())
	all := make(Versions)
	for range r.count(6) {
		k, lowest, highest := Key(r.int16()), r.int16(), r.int16()
		switch k {
		case Produce, Metadata, SASLHandshake, APIVersions, InitProducerID, DescribeConfigs, SASLAuthenticate:
			all[k] = [2]int16{lowest, highest}
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return all, code.Err()
}

// ParseSASLHandshake reads the answer of version 1: a Code if the mechanism is not
// to be had, and those that are.
func ParseSASLHandshake(answer []byte) (mechanisms []string, err error) {
	r := reader{rest: answer}
	code := Code(r.int16())
	for range r.count(2) {
		mechanisms = append(mechanisms, r.text())
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return mechanisms, code.Err()
}

// ParseSASLAuthenticate reads the answer of version 0 or 1: the other side's step,
// and for how long the login is good, 0 for ever. A refusal is a *Refusal.
func ParseSASLAuthenticate(answer []byte, version int16) (step []byte, life time.Duration, err error) {
	r := reader{rest: answer}
	code, text := Code(r.int16()), r.text()
	step = r.bytes()
	if version >= 1 {
		if millis := r.int64(); millis > 0 {
			life = time.Duration(min(millis, int64(maxLife/time.Millisecond))) * time.Millisecond
		}
	}
	if err := r.end(); err != nil {
		return nil, 0, err
	}
	return step, life, refusal(code, text)
}

// maxLife is the longest lifetime of a login that is of interest.
const maxLife = 30 * 24 * time.Hour

// Cluster is the answer to Metadata.
type Cluster struct {
	Throttle time.Duration
	// ID is "" if the cluster has none.
	ID      string
	Brokers []Broker
	Topics  []Topic
}

// Broker is one by the address that it names itself.
type Broker struct {
	ID   int32
	Host string
	Port int32
}

// Topic is one with its partitions, or the Code that says why it cannot be used.
type Topic struct {
	Name string
	Code Code
	// Partitions have their number as index.
	Partitions []Leader
}

// Leader is who has a partition.
type Leader struct {
	Code     Code
	Broker   int32 // -1 for nobody
	Replicas int
	known    bool
}

// ParseMetadata reads the answer of version 4.
func ParseMetadata(answer []byte) (*Cluster, error) {
	r := reader{rest: answer}
	c := &Cluster{Throttle: r.throttle()}
	n := r.count(12)
	c.Brokers = make([]Broker, n)
	for i := range n {
		c.Brokers[i] = Broker{ID: r.int32(), Host: r.text(), Port: r.int32()}
		r.text() // the rack
	}
	c.ID = r.text()
	r.int32() // the controller
	n = r.count(9)
	c.Topics = make([]Topic, n)
	for i := range n {
		t := &c.Topics[i]
		t.Code, t.Name = Code(r.int16()), r.text()
		r.int8() // whether it is internal
		t.readPartitions(&r)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return c, nil
}

func (t *Topic) readPartitions(r *reader) {
	n := r.count(18)
	t.Partitions = make([]Leader, n)
	for range n {
		code, number, broker := Code(r.int16()), r.int32(), r.int32()
		replicas := r.ids()
		r.ids() // those in sync
		if number < 0 || int(number) >= n || t.Partitions[number].known {
			r.bad = true
			return
		}
		t.Partitions[number] = Leader{code, broker, replicas, true}
	}
}

// ParseInitProducerID reads the answer of version 0. A Code is an error.
func ParseInitProducerID(answer []byte) (id int64, epoch int16, throttle time.Duration, err error) {
	r := reader{rest: answer}
	throttle = r.throttle()
	code := Code(r.int16())
	id, epoch = r.int64(), r.int16()
	if err := r.end(); err != nil {
		return 0, 0, 0, err
	}
	if code == 0 && (id < 0 || epoch < 0) {
		return 0, 0, 0, ErrAnswer
	}
	return id, epoch, throttle, code.Err()
}

// Settings are those of a topic, or the Code that says why they are not told.
type Settings struct {
	Topic  string
	Code   Code
	Values map[string]string
}

// ParseDescribeConfigs reads the answer of version 1.
func ParseDescribeConfigs(answer []byte) (all []Settings, throttle time.Duration, err error) {
	r := reader{rest: answer}
	throttle = r.throttle()
	n := r.count(11)
	all = make([]Settings, n)
	for i := range n {
		s := &all[i]
		s.Code = Code(r.int16())
		r.text() // what there is to say of it
		r.int8() // that it is a topic
		s.Topic = r.text()
		s.Values = make(map[string]string)
		for range r.count(11) {
			name, value := r.text(), r.text()
			r.take(3) // read-only, its source, sensitive
			for range r.count(5) {
				r.text()
				r.text()
				r.int8()
			}
			s.Values[name] = value
		}
	}
	if err := r.end(); err != nil {
		return nil, 0, err
	}
	return all, throttle, nil
}

// Produced is what has become of the batch of a partition: Err is nil if it is
// there. A broker's word is a *Refusal.
type Produced struct {
	Topic     string
	Partition int32
	Err       error
}

// ParseProduce reads the answer of a version from 3 to 8.
func ParseProduce(answer []byte, version int16) (all []Produced, throttle time.Duration, err error) {
	r := reader{rest: answer}
	for range r.count(6) {
		topic := r.text()
		for range r.count(22) {
			p := Produced{Topic: topic, Partition: r.int32()}
			code := Code(r.int16())
			r.int64() // the offset
			r.int64() // the time, if the broker has made one
			if version >= 5 {
				r.int64() // where the log begins
			}
			text := ""
			if version >= 8 {
				for range r.count(6) {
					r.int32() // the number of a record in the batch
					if said := r.text(); text == "" {
						text = said
					}
				}
				if said := r.text(); said != "" {
					text = said
				}
			}
			p.Err = refusal(code, text)
			all = append(all, p)
		}
	}
	throttle = r.throttle()
	if err := r.end(); err != nil {
		return nil, 0, err
	}
	return all, throttle, nil
}
