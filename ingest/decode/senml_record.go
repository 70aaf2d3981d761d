package decode

import "github.com/tidegate/tidegate/reading"

// label is what a field of a record is called.
type label uint8

// The labels of RFC 8428 §4.3; the first six hold for the records that follow,
// too.
const (
	labelBaseVersion label = iota
	labelBaseName
	labelBaseTime
	labelBaseUnit
	labelBaseValue
	labelBaseSum
	labelName
	labelUnit
	labelValue
	labelText
	labelBool
	labelSum
	labelTime
	labelUpdate
	labelData
	labels

	labelUnknown label = labels
)

// labelOf finds a label by its text; must says that an unknown one may not be
// passed over.
func labelOf(text []byte) (l label, must bool) {
	switch string(text) {
	case "bver":
		return labelBaseVersion, false
	case "bn":
		return labelBaseName, false
	case "bt":
		return labelBaseTime, false
	case "bu":
		return labelBaseUnit, false
	case "bv":
		return labelBaseValue, false
	case "bs":
		return labelBaseSum, false
	case "n":
		return labelName, false
	case "u":
		return labelUnit, false
	case "v":
		return labelValue, false
	case "vs":
		return labelText, false
	case "vb":
		return labelBool, false
	case "s":
		return labelSum, false
	case "t":
		return labelTime, false
	case "ut":
		return labelUpdate, false
	case "vd":
		return labelData, false
	}
	return labelUnknown, len(text) > 0 && text[len(text)-1] == '_'
}

// labelOfInt finds a label by its number in CBOR (RFC 8428 §6): the base labels
// are -1 to -6, and the others 0 to 8, in the order above.
func labelOfInt(n int) label {
	switch {
	case n < 0 && n >= -6:
		return label(-1 - n)
	case n >= 0 && n <= 8:
		return labelName + label(n)
	}
	return labelUnknown
}

// set is a set of labels.
type set uint16

func (s set) has(l label) bool { return s&(1<<l) != 0 }

func (s set) any(ls ...label) bool {
	for _, l := range ls {
		if s.has(l) {
			return true
		}
	}
	return false
}

// senmlNumber is a number, whose exact method gives the decimal that bases are
// added to.
type senmlNumber struct {
	cborNumber
	none bool // not finite: no reading
}

// record is one SenML record as its notation says it. Texts are only valid
// during the call of Decode.
type record struct {
	has      set
	version  int
	at       int // where it begins
	name     []byte
	baseName []byte
	unit     []byte
	baseUnit []byte
	value    reading.Value // v, vs, vb or vd
	number   senmlNumber   // v
	sum      senmlNumber
	time     senmlNumber
	update   senmlNumber
	baseTime senmlNumber
	baseVal  senmlNumber
	baseSum  senmlNumber
}

// slot is where the number of a label goes.
func (r *record) slot(l label) *senmlNumber {
	switch l {
	case labelBaseTime:
		return &r.baseTime
	case labelBaseValue:
		return &r.baseVal
	case labelBaseSum:
		return &r.baseSum
	case labelSum:
		return &r.sum
	case labelTime:
		return &r.time
	case labelUpdate:
		return &r.update
	}
	return &r.number
}

const (
	senmlVersion = 10
	// secondaryUnits is the feature of RFC 9100 that RFC 8798 stands for, in
	// versions.
	secondaryUnits = 1 << 4

	versionHint = "versions up to 10 are understood, and 26, which is 10 with the units of RFC 8798"
)

// senmlUnderstands says whether packs of a version can be read. Versions below
// 10 are those of drafts, which the RFC's own examples have.
func senmlUnderstands(version uint64) bool {
	return version >= 1 && version <= senmlVersion || version == senmlVersion|secondaryUnits
}
