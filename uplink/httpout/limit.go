package httpout

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// leastLimit is the smallest limit that an answer is believed.
const leastLimit = 1 << 10

// limit is how large a body may be, as far as the other side has said by
// refusing some.
type limit struct {
	mu      sync.Mutex
	refusal int // the smallest body that was refused
	largest int // the largest that was taken since
	named   int // what a refusal has named
}

// bytes returns the limit, 0 as long as nothing was refused.
func (l *limit) bytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.refusal == 0:
		return 0
	case l.named > 0:
		return l.named
	}
	return max(l.largest, l.refusal/2)
}

func (l *limit) accepted(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refusal > 0 && size < l.refusal {
		l.largest = max(l.largest, size)
	}
}

// refused notes that a body was too large, and what the answer says.
func (l *limit) refused(size int, answer []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refusal == 0 || size < l.refusal {
		l.refusal = size
		if l.largest >= size { // the other side has changed its mind
			l.largest = 0
		}
		if l.named >= size {
			l.named = 0
		}
	}
	if n := sizeIn(answer); n >= leastLimit && n < size {
		l.named = n
	}
}

// quantity matches a number in a text, with the word before it that says that it
// is a bound, and the unit behind it.
var quantity = regexp.MustCompile(`(?i)(?:(limit|max|most|exceed|than|size)[^0-9]{0,32})?\b([0-9]{1,12})(?:\s*(kib|mib|kb|mb|bytes))?\b`)

// sizeIn returns the largest number of bytes that the text names, 0 if none. A
// number without word and unit is none: it may be a status, or a year.
func sizeIn(answer []byte) int {
	most := int64(0)
	for _, m := range quantity.FindAllSubmatch(answer, -1) {
		n, err := strconv.ParseInt(string(m[2]), 10, 64)
		if err != nil || len(m[1])+len(m[3]) == 0 {
			continue
		}
		switch strings.ToLower(string(m[3])) {
		case "kib", "kb":
			n <<= 10
		case "mib", "mb":
			n <<= 20
		}
		most = max(most, n)
	}
	return int(min(most, math.MaxInt32))
}
