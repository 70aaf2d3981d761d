package coapin

import (
	"encoding/binary"
	"hash/fnv"
)

// wellKnown is the path of the list of paths.
const wellKnown = reserved + "core"

// lookOverhead is what an answer has beside a block: header, token, ETag, format,
// Block2, marker.
const lookOverhead = headerSize + maxToken + 5 + 2 + 5 + 1

// look answers a GET: of the list of paths, in blocks that are small enough for
// somebody who has not shown that the address is theirs.
func (v *server) look(r *request, e *exchange) answer {
	switch {
	case string(r.path) != wellKnown:
		return refuse(notAllowed, "POST or PUT")
	case r.accept != noFormat && r.accept != int(Links):
		return refuse(notAccept, "link-format only")
	}
	body := v.targets.list()
	b := block{szx: maxSZX}
	if r.block2 != nil {
		b = *r.block2
	}
	at := b.offset()
	for b.szx > smallestSZX && b.size()+lookOverhead > e.most {
		b.szx--
	}
	b.number = uint32(at >> (b.szx + 4))
	b, part, ok := b.within(body)
	if !ok {
		return refuse(badRequest, "no such block")
	}
	sum := fnv.New32a()
	_, _ = sum.Write(body) // never fails
	return answer{code: content, payload: part, block2: &b, format: uint32(Links), etag: binary.BigEndian.AppendUint32(nil, sum.Sum32())}
}
