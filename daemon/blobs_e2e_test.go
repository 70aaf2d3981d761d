package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// blobs is a sensor that publishes noise, which no compressor makes smaller,
// and remembers what of it was acknowledged.
type blobs struct {
	*site
	client *firmwaresim.Client
	noise  *rand.ChaCha8
	stop   func()

	mu    sync.Mutex
	next  uint64              // tag of the next blob, which begins with it
	sent  map[uint64][32]byte // hashes by tag
	acked map[uint64]bool
}

// startBlobs connects the sensor. stop or the end of the test disconnects it.
func (s *site) startBlobs(name string, window int) *blobs {
	s.Helper()
	b := &blobs{site: s, noise: rand.NewChaCha8([32]byte{}), sent: map[uint64][32]byte{}, acked: map[uint64]bool{}}
	b.client = firmwaresim.NewClient(firmwaresim.ClientConfig{
		Addr: s.mqtt, ClientID: name, Window: window, MaxPause: 20 * time.Millisecond,
		OnAck: func(tag uint64, _ time.Duration) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.acked[tag] = true
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.client.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("%s: %v", name, err)
		}
	})
	s.Cleanup(b.stop)
	return b
}

// publish sends one more blob of so many bytes, 8 at least, if there is room in
// the window before ctx ends.
func (b *blobs) publish(ctx context.Context, size int) error {
	blob := make([]byte, size)
	b.noise.Read(blob) // never fails
	b.mu.Lock()
	b.next++
	tag := b.next
	binary.BigEndian.PutUint64(blob, tag)
	b.sent[tag] = sha256.Sum256(blob)
	b.mu.Unlock()
	err := b.client.Publish(ctx, firmwaresim.Message{Topic: "raw/blob", Payload: blob, QoS: 1, Tag: tag})
	b.client.Flush()
	return err
}

// publishAll sends n blobs and waits for their acknowledgements.
func (b *blobs) publishAll(n, size int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range n {
		if err := b.publish(ctx, size); err != nil {
			b.Fatalf("publish: %v", err)
		}
	}
	if err := b.client.Drain(ctx); err != nil {
		b.Fatalf("not acknowledged: %v", err)
	}
}

func (b *blobs) countAcked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acked)
}

// auditBlobs checks that the cloud has every blob that was acknowledged.
func (b *blobs) auditBlobs() {
	b.Helper()
	if lost := b.missing(); len(lost) > 0 || b.countAcked() == 0 {
		b.Errorf("of %d blobs that were acknowledged, these are lost: %v", b.countAcked(), lost)
	}
}

// missing returns the blobs that were acknowledged and are not in the cloud.
func (b *blobs) missing() (lost []uint64) {
	b.Helper()
	return b.missingFrom(b.cloud)
}

// missingFrom returns the blobs that were acknowledged and are not in the cloud of
// that address, and checks that those that are there are what was sent, and no
// reading is twice.
func (b *blobs) missingFrom(address string) (lost []uint64) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	type key struct {
		epoch, lane string
		seq         uint64
	}
	keys, here := map[key]bool{}, map[uint64]bool{}
	for _, r := range b.exportFrom(address, "?device=blob") {
		k := key{r.Epoch, r.Lane, r.Seq}
		if keys[k] || len(r.Bytes) < 8 {
			b.Fatalf("%v is there twice, or %d bytes are no blob", k, len(r.Bytes))
		}
		keys[k] = true
		tag := binary.BigEndian.Uint64(r.Bytes)
		here[tag] = true
		if b.sent[tag] != sha256.Sum256(r.Bytes) {
			b.Errorf("blob %d is not what was sent", tag)
		}
	}
	for tag := range b.acked {
		if !here[tag] {
			lost = append(lost, tag)
		}
	}
	slices.Sort(lost)
	return lost
}
