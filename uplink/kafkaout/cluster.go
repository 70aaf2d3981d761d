//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/uplink/onelink"
)

const (
	// leadersAge is how long a list of partitions is believed that nothing speaks
	// against: there may be more of them meanwhile.
	leadersAge = time.Hour
	// A list that is wrong is asked for again, so often at once and once more
	// after so long: a list of many partitions is long.
	freeAsks = 8
	askEvery = 2 * time.Second
	// maxKnown bounds the topics whose partitions are remembered, unless a single
	// message has more.
	maxKnown = 1024
	// createTries is how often a topic that was just created is looked for, after
	// createDelay, and twice that, and so on.
	createTries = 4
	createDelay = 250 * time.Millisecond
)

// knowledge is what is known of a cluster.
type knowledge struct {
	brokers map[int32]string // addresses
	topics  map[string]*leaders
	asks    int       // that are left
	counted time.Time // when they were
}

// leaders are a topic's, by partition.
type leaders struct {
	partitions []kafka.Leader
	asked      time.Time
	stale      bool
}

func newKnowledge(now time.Time) knowledge {
	return knowledge{brokers: make(map[int32]string), topics: make(map[string]*leaders), asks: freeAsks, counted: now}
}

// wanting returns those of the topics of which nothing is known, and those of which
// what is known may be wrong.
func (k *knowledge) wanting(topics []string, now time.Time) (unknown, doubted []string) {
	for _, t := range topics {
		switch l := k.topics[t]; {
		case l == nil:
			unknown = append(unknown, t)
		case l.stale || now.Sub(l.asked) > leadersAge:
			doubted = append(doubted, t)
		}
	}
	return unknown, doubted
}

// mayAsk says whether a list may be asked for again, and takes account of it.
func (k *knowledge) mayAsk(now time.Time) bool {
	if n := int(now.Sub(k.counted) / askEvery); n > 0 {
		k.asks, k.counted = min(k.asks+n, freeAsks), now
	}
	if k.asks == 0 {
		return false
	}
	k.asks--
	return true
}

// note remembers an answer.
func (k *knowledge) note(c *kafka.Cluster, now time.Time) {
	clear(k.brokers)
	for _, b := range c.Brokers {
		if b.Host == "" || b.Port <= 0 {
			continue // nobody can be there
		}
		k.brokers[b.ID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	if len(k.topics)+len(c.Topics) > maxKnown {
		clear(k.topics) // and not what is needed now
	}
	for _, t := range c.Topics {
		if t.Code != 0 || len(t.Partitions) == 0 {
			delete(k.topics, t.Name)
			continue
		}
		k.topics[t.Name] = &leaders{t.Partitions, now, false}
	}
}

// errForgotten says that a topic must be asked for again, because others have taken
// its place.
var errForgotten = fmt.Errorf("topic not known any more: %w", kafka.LeaderNotAvailable)

// place returns the partition that a key belongs to, and the address of its
// broker.
func (k *knowledge) place(topic string, key []byte) (partition int32, address string, err error) {
	l := k.topics[topic]
	if l == nil {
		return 0, "", errForgotten
	}
	partition = kafka.Partition(key, len(l.partitions))
	p := l.partitions[partition]
	address = k.brokers[p.Broker]
	if address != "" {
		return partition, address, nil
	}
	l.stale = true
	code := p.Code
	if code == 0 || code == kafka.ReplicaNotAvailable { // which is no error of the leader's
		code = kafka.LeaderNotAvailable
	}
	return partition, "", fmt.Errorf("partition %d of topic %s: %w", partition, topic, code)
}

// doubt says that a topic's partitions are somewhere else.
func (k *knowledge) doubt(topic string) {
	if l := k.topics[topic]; l != nil {
		l.stale = true
	}
}

// want is what must be asked before something can be sent.
type want struct {
	leaders, limits []string // of topics
	number          bool
}

func (w want) nothing() bool { return len(w.leaders) == 0 && len(w.limits) == 0 && !w.number }

// wants returns what must be asked. Without spending, it is what could be.
func (s *Sink) wants(topics []string, spending bool) want {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	unknown, doubted := s.known.wanting(topics, now)
	if len(doubted) > 0 && (!spending || s.known.mayAsk(now)) {
		unknown = append(unknown, doubted...)
	}
	return want{leaders: unknown, limits: s.limits.unknown(topics, now), number: s.numbers == nil || s.numbers.spent}
}

// ready asks for what must be known before anything can be sent to the topics.
// Only one asks at a time, all at once; others wait, and mostly need not ask then.
func (s *Sink) ready(ctx context.Context, topics []string) error {
	if s.wants(topics, false).nothing() {
		return nil
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return silence(ctx, nil)
	}
	for try := 0; ; try++ {
		w := s.wants(topics, true)
		if w.nothing() {
			return nil
		}
		err := s.learn(ctx, w)
		created := s.cfg.CreateTopics && try < createTries && (errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.LeaderNotAvailable))
		if !created {
			return err
		}
		if !pause(ctx, createDelay<<try) {
			return silence(ctx, err)
		}
	}
}

// pause waits, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// learn asks a broker. A connection that had been resting may have been closed
// meanwhile, which is no outage.
func (s *Sink) learn(ctx context.Context, w want) error {
	for again := false; ; again = true {
		l, fresh, err := s.anyLink(ctx)
		if err != nil {
			return err
		}
		err = s.learnFrom(ctx, l, w)
		if _, lost := errors.AsType[*lostError](err); again || fresh || !lost || ctx.Err() != nil {
			return err
		}
	}
}

// learnFrom has all questions written before it waits for an answer.
func (s *Sink) learnFrom(ctx context.Context, l *link, w want) error {
	question := func(key kafka.Key, version int16, body func([]byte) []byte) *call {
		return l.start(&call{key: key, version: version, body: func(dst []byte) ([]byte, error) { return body(dst), nil }})
	}
	var leaders, number, limits *call
	if len(w.leaders) > 0 {
		leaders = question(kafka.Metadata, 4, func(dst []byte) []byte { return kafka.AppendMetadata(dst, w.leaders, s.cfg.CreateTopics) })
	}
	if w.number {
		number = question(kafka.InitProducerID, 0, kafka.AppendInitProducerID)
	}
	if _, ok := l.versions.Best(kafka.DescribeConfigs); ok && len(w.limits) > 0 {
		limits = l.start(askLimits(w.limits))
	} else {
		s.limits.giveUp(w.limits, time.Now())
	}
	var err error
	if leaders != nil {
		err = s.heardLeaders(ctx, l, leaders)
	}
	if number != nil && err == nil {
		err = s.heardNumber(ctx, l, number)
	}
	if limits != nil && err == nil {
		_, err = s.heardLimits(ctx, l, limits)
	}
	return err
}

// heard waits for an answer, and says of what broker an error is.
func heard(ctx context.Context, l *link, k *call) ([]byte, error) {
	answer, err := l.wait(ctx, k)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("broker %s: %w", l.address, silence(ctx, nil))
	}
	return answer, err
}

func (s *Sink) heardLeaders(ctx context.Context, l *link, k *call) error {
	answer, err := heard(ctx, l, k)
	if err != nil {
		return err
	}
	c, err := kafka.ParseMetadata(answer)
	if err != nil {
		return l.mumbled(err)
	}
	s.mu.Lock()
	s.known.note(c, time.Now())
	s.mu.Unlock()
	for _, t := range c.Topics {
		if t.Code != 0 {
			return fmt.Errorf("topic %s: %w", t.Name, t.Code)
		}
	}
	return nil
}

func (s *Sink) heardNumber(ctx context.Context, l *link, k *call) error {
	answer, err := heard(ctx, l, k)
	if err != nil {
		return err
	}
	id, epoch, _, err := kafka.ParseInitProducerID(answer)
	if errors.Is(err, kafka.ErrAnswer) {
		return l.mumbled(err)
	}
	if err != nil {
		return fmt.Errorf("broker %s: %w", l.address, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers = newNumbers(id, epoch)
	return nil
}

// mumbled ends a link whose broker has said something that cannot be understood.
func (l *link) mumbled(err error) error {
	err = &lostError{fmt.Errorf("broker %s: %w", l.address, err)}
	l.fail(err)
	return err
}

// anyLink returns a connection to some broker: the one of the last batch, or else
// one of those that are configured. A broker that has said that it does not want us
// speaks for all.
func (s *Sink) anyLink(ctx context.Context) (l *link, fresh bool, err error) {
	s.mu.Lock()
	home, first := s.home, s.first
	s.mu.Unlock()
	if home != "" {
		l, fresh, err = s.linkTo(ctx, home)
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return l, fresh, err
		}
	}
	for i := range s.cfg.Brokers {
		n := (first + i) % len(s.cfg.Brokers)
		l, fresh, err = s.linkTo(ctx, withPort(s.cfg.Brokers[n]))
		if err == nil {
			s.settle(l.address, n)
			return l, fresh, nil
		}
		if ctx.Err() != nil || !unreachable(err) {
			s.settle("", n+1)
			return nil, false, err
		}
	}
	s.settle("", first)
	return nil, false, err
}

// settle notes where to ask first the next time.
func (s *Sink) settle(home string, first int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home, s.first = home, first%len(s.cfg.Brokers)
}

// unreachable says that err is no broker's word, so that another one may help.
func unreachable(err error) bool {
	said := errors.As(err, new(kafka.Code))
	return !said && !errors.Is(err, errHungUp) && !errors.Is(err, errClosed)
}

// linkTo returns the connection to an address; fresh says that it was made now.
func (s *Sink) linkTo(ctx context.Context, address string) (l *link, fresh bool, err error) {
	for again := false; ; again = true {
		seat := s.seat(address)
		if seat == nil {
			return nil, false, errClosed
		}
		l, err = seat.Get(ctx, func(ctx context.Context) (*link, error) {
			fresh = true
			return s.open(ctx, address)
		})
		if err != nil && ctx.Err() != nil {
			return nil, false, silence(ctx, err)
		}
		if again || !errors.Is(err, onelink.ErrClosed) {
			return l, fresh, err
		}
	}
}

func (s *Sink) seat(address string) *onelink.Seat[*link] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.links[address] == nil {
		s.links[address] = onelink.NewSeat[*link]()
	}
	return s.links[address]
}

// tidy closes connections to addresses that no broker has: those of the first
// question, mostly, and those of brokers that are gone. Not while somebody asks, who
// may be about to use one.
func (s *Sink) tidy() {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	default:
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	used := map[string]bool{s.home: true}
	for _, address := range s.known.brokers {
		used[address] = true
	}
	for address, l := range s.opened {
		if seat := s.links[address]; seat != nil && !used[address] && l.resting() {
			delete(s.links, address)
			delete(s.opened, address)
			s.ended.Go(func() { seat.Close() })
		}
	}
}
