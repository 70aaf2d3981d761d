package coapin

import "unicode/utf8"

// The options that this server knows, with the documents that define them.
const (
	optUriHost       = 3   // RFC 7252
	optETag          = 4   // RFC 7252
	optUriPort       = 7   // RFC 7252
	optUriPath       = 11  // RFC 7252
	optContentFormat = 12  // RFC 7252
	optMaxAge        = 14  // RFC 7252
	optUriQuery      = 15  // RFC 7252
	optAccept        = 17  // RFC 7252
	optBlock2        = 23  // RFC 7959
	optBlock1        = 27  // RFC 7959
	optSize2         = 28  // RFC 7959
	optProxyUri      = 35  // RFC 7252
	optProxyScheme   = 39  // RFC 7252
	optSize1         = 60  // RFC 7959
	optNoResponse    = 258 // RFC 7967
	optRequestTag    = 292 // RFC 9175
)

// shape is what an option's value may be, and whether there may be several.
type shape struct {
	least, most int // bytes
	repeats     bool
}

// shapes are those of the options that a request may have here. What is not in
// it is not known; Size2 is one that is of no interest.
var shapes = map[uint16]shape{
	optUriHost:       {1, 255, false},
	optUriPort:       {0, 2, false},
	optUriPath:       {0, 255, true},
	optContentFormat: {0, 2, false},
	optUriQuery:      {0, 255, true},
	optAccept:        {0, 2, false},
	optBlock2:        {0, 3, false},
	optBlock1:        {0, 3, false},
	optSize1:         {0, 4, false},
	optProxyUri:      {1, 1034, false},
	optProxyScheme:   {1, 255, false},
	optNoResponse:    {0, 1, false},
	optRequestTag:    {0, 8, true},
}

// critical says whether a message must be refused whose option is not known.
func critical(number uint16) bool { return number&1 == 1 }

// The longest path, and the longest path with query and Request-Tag, in bytes.
const (
	maxPath      = 512
	maxOperation = 1024
)

// noFormat stands for a request that does not say what its payload is.
const noFormat = -1

// request is what a message asks for.
type request struct {
	path   []byte // segments, with slashes between them
	format int    // Content-Format, or noFormat
	accept int    // Accept, or noFormat
	// block1 is a part of the payload, block2 one of the answer; nil if the
	// message has none.
	block1, block2 *block
	size1          uint32 // of the whole payload, 0 if nobody said
	mute           byte   // the classes of answers that nobody wants, RFC 7967
	// operation tells bodies of one endpoint apart that are on their way at the
	// same time.
	operation []byte
	blocks    [2]block // what block1 and block2 point to
}

// read sets r to what m asks for. It returns the code of the answer if that must
// not be done, with words for people, and empty if it may.
func (r *request) read(m *message) (code, string) {
	*r = request{path: r.path[:0], operation: append(r.operation[:0], byte(m.code)), format: noFormat, accept: noFormat}
	segments, last := 0, -1
	for _, o := range m.options {
		s, known := shapes[o.number]
		repeated := int(o.number) == last
		last = int(o.number)
		if !known || len(o.value) < s.least || len(o.value) > s.most || repeated && !s.repeats {
			if critical(o.number) {
				return badOption, unknownOption(o.number)
			}
			continue
		}
		if o.number == optUriPath {
			if segments++; segments > 1 {
				r.path = append(r.path, '/')
			}
			r.path = append(r.path, o.value...)
		}
		if c, why := r.option(o); c != empty {
			return c, why
		}
	}
	switch {
	case len(r.path) > maxPath || len(r.operation) > maxOperation:
		return badRequest, "path or query is too long"
	case !utf8.Valid(r.path) || hasControl(r.path):
		return badRequest, "path is not text"
	}
	return empty, ""
}

// option takes in an option whose shape is right.
func (r *request) option(o option) (code, string) {
	switch o.number {
	case optUriPath, optUriQuery, optRequestTag:
		r.operation = append(r.operation, byte(o.number), byte(len(o.value)))
		r.operation = append(r.operation, o.value...)
	case optContentFormat:
		r.format = int(uintValue(o.value))
	case optAccept:
		r.accept = int(uintValue(o.value))
	case optBlock1, optBlock2:
		b, ok := parseBlock(o.value)
		if !ok {
			return badRequest, "block size 7 is reserved"
		}
		if o.number == optBlock1 {
			r.blocks[0], r.block1 = b, &r.blocks[0]
		} else {
			r.blocks[1], r.block2 = b, &r.blocks[1]
		}
	case optSize1:
		r.size1 = uintValue(o.value)
	case optNoResponse:
		r.mute = byte(uintValue(o.value))
	case optProxyUri, optProxyScheme:
		return noProxy, "this is no proxy"
	}
	return empty, ""
}

// wants says whether the peer wants an answer of that code.
func wants(mute byte, c code) bool { return mute>>(c.class()-1)&1 == 0 }

func hasControl(path []byte) bool {
	for _, c := range path {
		if c < ' ' || c == 0x7F {
			return true
		}
	}
	return false
}
