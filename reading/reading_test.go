package reading_test

import (
	"math"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

func TestLanesHaveNames(t *testing.T) {
	for l := range reading.Lane(reading.Lanes) {
		if got, ok := reading.ParseLane(l.String()); !ok || got != l {
			t.Errorf("lane %d is called %q, which means %d, %v", l, l, got, ok)
		}
	}
	if _, ok := reading.ParseLane("urgent"); ok {
		t.Error("there is no lane urgent")
	}
}

func TestFlagsDoNotDisturbEachOther(t *testing.T) {
	f := reading.Bad | reading.Stamped | reading.Retained
	for qos := byte(2); qos < 3; qos-- {
		f = f.WithQoS(qos)
		if f.QoS() != qos || f.Quality() != reading.Bad || f&reading.Stamped == 0 || f&reading.Retained == 0 || f&reading.Historical != 0 {
			t.Errorf("with QoS %d the flags are %08b", qos, f)
		}
	}
}

func TestNumbersAreFloatsWhereThatIsExact(t *testing.T) {
	for _, i := range []int64{0, -1, reading.MaxExactInt, -reading.MaxExactInt} {
		if v := reading.Number(i); v.Kind() != reading.KindFloat || v.Float() != float64(i) {
			t.Errorf("%d is %v", i, v)
		}
	}
	for _, i := range []int64{reading.MaxExactInt + 1, math.MaxInt64, math.MinInt64} {
		if v := reading.Number(i); v.Kind() != reading.KindInt || v.Int() != i {
			t.Errorf("%d is %v", i, v)
		}
	}
}

func TestValuesTellWhatTheyAre(t *testing.T) {
	for _, c := range []struct {
		v      reading.Value
		kind   reading.Kind
		number float64
		is     bool
		text   string
	}{
		{reading.Float(21.5), reading.KindFloat, 21.5, true, "21.5"},
		{reading.Int(-7), reading.KindInt, -7, true, "-7"},
		{reading.Bool(true), reading.KindBool, 1, true, "true"},
		{reading.Bool(false), reading.KindBool, 0, true, "false"},
		{reading.String("open"), reading.KindString, 0, false, "open"},
		{reading.Bytes("\x00\xff"), reading.KindBytes, 0, false, `"\x00\xff"`},
	} {
		n, is := c.v.Number()
		if c.v.Kind() != c.kind || n != c.number || is != c.is || c.v.String() != c.text {
			t.Errorf("%v: kind %d, number %v %v", c.v, c.v.Kind(), n, is)
		}
	}
	if v := reading.Int(5); v.Float() != 0 || v.Bool() || v.Text() != "" {
		t.Error("an integer is no float, no truth and no text")
	}
}
