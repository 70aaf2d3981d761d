package firmwaresim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Shape is the form of a device's payload.
type Shape string

// The shapes. In an audited fleet every sample carries the device's counter as
// the field seq.
const (
	// JSON4 is one flat object with a time and four metrics.
	JSON4 Shape = "json4"
	// JSON8 is the same with eight metrics, one of them a boolean.
	JSON8 Shape = "json8"
	// Nested groups the four metrics of JSON4 in objects.
	Nested Shape = "nested"
	// Array carries arraySamples samples in the form of JSON4, a second apart.
	Array Shape = "array"
	// Plain is one number, with the metric in the topic.
	Plain Shape = "plain"
	// Opaque is 92 bytes of flat JSON with seven fields of noise: what a
	// compressor likes least. It cannot be audited.
	Opaque Shape = "opaque"
)

// arraySamples is the number of samples in a payload of shape Array.
const arraySamples = 4

// samples is how many samples a payload carries, each with a counter.
func (s Shape) samples() uint64 {
	if s == Array {
		return arraySamples
	}
	return 1
}

// Shapes lists all shapes.
func Shapes() []Shape { return []Shape{JSON4, JSON8, Nested, Array, Plain, Opaque} }

// plainMetrics are the metrics that shape Plain takes turns with.
func plainMetrics() []string { return []string{"temp", "hum", "bat", "rssi"} }

// Device is a seeded model of one sensor node: slow random walks with the
// decimals that real sensors have, and a counter. The same seed, index, shape
// and times make the same bytes.
type Device struct {
	shape   Shape
	audited bool
	random  *rand.PCG
	seq     uint64 // of the newest sample; the first one is 1

	temp, hum, bat, rssi   int64 // 0.01 Cel, 0.1 %RH, 0.01 V, dBm
	pressure, lux, co2     int64 // 0.01 hPa, lx, ppm
	open                   bool
	coldest, warmest, damp int64

	sticks float64    // the share of samples that repeat the one before
	sticky *rand.Rand // decides which
	// reset is set when the clock began in 1970; born is when it began.
	reset bool
	born  time.Time
}

// NewDevice returns the device with the given index of a fleet with the given
// seed.
func NewDevice(seed uint64, index int, shape Shape, audited bool) *Device {
	d := &Device{shape: shape, audited: audited, random: rand.NewPCG(seed, uint64(index))}
	start := rand.New(d.random)
	d.temp = 1500 + start.Int64N(1000)
	d.hum = 350 + start.Int64N(300)
	d.bat = 340 + start.Int64N(80)
	d.rssi = -90 + start.Int64N(50)
	d.pressure = 98000 + start.Int64N(5000)
	d.lux = start.Int64N(800)
	d.co2 = 420 + start.Int64N(400)
	d.coldest, d.warmest, d.damp = d.temp-1500, d.temp+1500, 950
	return d
}

// Seq returns the counter of the newest sample: the number of samples so far.
func (d *Device) Seq() uint64 { return d.seq }

// Metric returns the metric of the next payload of shape Plain, and "" for the
// other shapes.
func (d *Device) Metric() string {
	switch {
	case d.shape != Plain:
		return ""
	case d.audited:
		return "seq"
	}
	metrics := plainMetrics()
	return metrics[d.seq%uint64(len(metrics))]
}

// Append appends the next payload, measured at the given time.
func (d *Device) Append(dst []byte, at time.Time) []byte {
	ms := d.clock(at).UnixMilli()
	switch d.shape {
	case JSON8:
		d.step()
		return d.appendJSON8(dst, ms)
	case Nested:
		d.step()
		return d.appendNested(dst, ms)
	case Array:
		return d.appendArray(dst, ms)
	case Plain:
		return d.appendPlain(dst)
	case Opaque:
		d.seq++
		return d.appendOpaque(dst)
	}
	d.step()
	return append(d.appendJSON4(dst, ms), '}')
}

// step measures anew. One random number pays for all metrics.
func (d *Device) step() {
	d.seq++
	if d.sticky != nil && d.sticky.Float64() < d.sticks {
		return
	}
	r := d.random.Uint64()
	take := func(n uint64) int64 {
		v := r % n
		r /= n
		return int64(v)
	}
	d.temp = min(max(d.temp+take(11)-5, d.coldest), d.warmest)
	d.hum = min(max(d.hum+take(5)-2, 150), d.damp)
	d.rssi = min(max(d.rssi+take(5)-2, -110), -35)
	d.pressure = min(max(d.pressure+take(7)-3, 95000), 105000)
	d.lux = min(max(d.lux+take(21)-10, 0), 2000)
	d.co2 = min(max(d.co2+take(9)-4, 400), 3000)
	if take(1000) == 0 {
		d.open = !d.open
	}
	if take(500) == 0 && d.bat > 300 {
		d.bat--
	}
}

// appendJSON4 leaves the object open for more fields.
func (d *Device) appendJSON4(dst []byte, ms int64) []byte {
	dst = d.appendHead(dst, ms)
	dst = appendFixed(append(dst, `,"temp":`...), d.temp, 2)
	dst = appendFixed(append(dst, `,"hum":`...), d.hum, 1)
	dst = appendFixed(append(dst, `,"bat":`...), d.bat, 2)
	return strconv.AppendInt(append(dst, `,"rssi":`...), d.rssi, 10)
}

func (d *Device) appendHead(dst []byte, ms int64) []byte {
	dst = strconv.AppendInt(append(dst, `{"ts":`...), ms, 10)
	if d.audited {
		dst = strconv.AppendUint(append(dst, `,"seq":`...), d.seq, 10)
	}
	return dst
}

func (d *Device) appendJSON8(dst []byte, ms int64) []byte {
	dst = d.appendJSON4(dst, ms)
	dst = appendFixed(append(dst, `,"pressure":`...), d.pressure, 2)
	dst = strconv.AppendInt(append(dst, `,"lux":`...), d.lux, 10)
	dst = strconv.AppendInt(append(dst, `,"co2":`...), d.co2, 10)
	dst = strconv.AppendBool(append(dst, `,"open":`...), d.open)
	return append(dst, '}')
}

func (d *Device) appendNested(dst []byte, ms int64) []byte {
	dst = d.appendHead(dst, ms)
	dst = appendFixed(append(dst, `,"air":{"temp":`...), d.temp, 2)
	dst = appendFixed(append(dst, `,"hum":`...), d.hum, 1)
	dst = appendFixed(append(dst, `},"node":{"bat":`...), d.bat, 2)
	dst = strconv.AppendInt(append(dst, `,"rssi":`...), d.rssi, 10)
	return append(dst, "}}"...)
}

func (d *Device) appendArray(dst []byte, ms int64) []byte {
	for i := range int64(arraySamples) {
		separator := byte(',')
		if i == 0 {
			separator = '['
		}
		d.step()
		age := (arraySamples - 1 - i) * time.Second.Milliseconds()
		dst = append(d.appendJSON4(append(dst, separator), ms-age), '}')
	}
	return append(dst, ']')
}

func (d *Device) appendPlain(dst []byte) []byte {
	metric := d.Metric()
	d.step()
	switch metric {
	case "seq":
		return strconv.AppendUint(dst, d.seq, 10)
	case "temp":
		return appendFixed(dst, d.temp, 2)
	case "hum":
		return appendFixed(dst, d.hum, 1)
	case "bat":
		return appendFixed(dst, d.bat, 2)
	}
	return strconv.AppendInt(dst, d.rssi, 10)
}

// appendOpaque appends seven fields of fixed width, 92 bytes in all.
func (d *Device) appendOpaque(dst []byte) []byte {
	a, b := d.random.Uint64(), d.random.Uint64()
	dst = appendHex(append(dst, `{"id":"`...), a, 8)
	dst = appendDigits(append(dst, `","n":1`...), a>>32, 7)
	dst = appendDigits(append(dst, `,"x":-1`...), a, 5)
	dst = appendDigits(append(dst, `,"y":0.`...), a>>20, 6)
	dst = appendDigits(append(dst, `,"z":0.`...), b, 6)
	dst = appendDigits(append(dst, `,"k":2`...), b>>24, 4)
	dst = appendHex(append(dst, `,"h":"`...), b, 7)
	return append(dst, `"}`...)
}

func appendHex(dst []byte, v uint64, n int) []byte {
	for range n {
		dst = append(dst, "0123456789abcdef"[v&15])
		v >>= 4
	}
	return dst
}

func appendDigits(dst []byte, v uint64, n int) []byte {
	for range n {
		dst = append(dst, '0'+byte(v%10))
		v /= 10
	}
	return dst
}

// appendFixed appends v, which counts 10^-decimals, as a decimal number.
func appendFixed(dst []byte, v int64, decimals int) []byte {
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	scale := int64(10)
	if decimals == 2 {
		scale = 100
	}
	dst = strconv.AppendInt(dst, v/scale, 10)
	dst = append(dst, '.')
	if fraction := v % scale; decimals == 2 {
		return append(dst, '0'+byte(fraction/10), '0'+byte(fraction%10))
	} else {
		return append(dst, '0'+byte(fraction))
	}
}

// deviceName returns the name of the device with the given index.
func deviceName(prefix string, index int) string { return fmt.Sprintf("%s%04d", prefix, index) }
