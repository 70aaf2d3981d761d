// Package kafka is as much of Kafka's protocol as a producer needs: requests,
// answers, batches of records, logins. It is bytes only; connections, retries and
// the meaning of errors belong to whoever uses it.
//
//	frame := kafka.AppendHeader(nil, kafka.Metadata, 4, 17, "north-7")
//	frame = kafka.AppendMetadata(frame, []string{"telemetry"}, false)
//	kafka.Finish(frame) // its length, in front
//
// Source of all formats: https://kafka.apache.org/protocol, and KIP-98 for the
// batch of records. Each request has one version here, the oldest that says what
// is needed and that Kafka 4 still takes (KIP-896); Produce has those from 3 to 8.
// None of them is "flexible", so strings and arrays have one form each. That is
// Kafka 1.0 and later with a login, 0.11 without; zstd needs 2.1.
//
// Every reader of an answer allocates a small multiple of the answer's size at the
// most, and takes an answer as a whole or not at all.
package kafka

import (
	"encoding/binary"
	"fmt"
)

// Key says what a request is.
type Key int16

// The requests of a producer.
const (
	Produce          Key = 0
	Metadata         Key = 3
	SASLHandshake    Key = 17
	APIVersions      Key = 18
	InitProducerID   Key = 22
	DescribeConfigs  Key = 32
	SASLAuthenticate Key = 36
)

// String returns the name of the protocol's own documentation.
func (k Key) String() string {
	switch k {
	case Produce:
		return "Produce"
	case Metadata:
		return "Metadata"
	case SASLHandshake:
		return "SaslHandshake"
	case APIVersions:
		return "ApiVersions"
	case InitProducerID:
		return "InitProducerId"
	case DescribeConfigs:
		return "DescribeConfigs"
	case SASLAuthenticate:
		return "SaslAuthenticate"
	}
	return fmt.Sprintf("request %d", int16(k))
}

// spoken returns the versions of a request that this package knows; none of them
// is flexible.
func spoken(k Key) (lowest, highest int16) {
	switch k {
	case Produce:
		return 3, 8
	case Metadata:
		return 4, 4
	case SASLHandshake, DescribeConfigs:
		return 1, 1
	case SASLAuthenticate:
		return 0, 1
	}
	return 0, 0
}

// ZstdVersion is the version of Produce from which on batches may be packed with
// zstd (KIP-110).
const ZstdVersion = 7

// Versions are those that a broker takes, of the requests that are known here.
type Versions map[Key][2]int16

// Best returns the highest version that both sides know. ok is false if there
// is none.
func (v Versions) Best(k Key) (version int16, ok bool) {
	theirs, known := v[k]
	lowest, highest := spoken(k)
	version = min(highest, theirs[1])
	return version, known && version >= max(lowest, theirs[0])
}

// AppendHeader appends room for a request's length, and its header (version 1).
// Answers to it begin with the number.
func AppendHeader(dst []byte, k Key, version int16, number int32, clientID string) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = appendInt16(dst, int16(k))
	dst = appendInt16(dst, version)
	dst = appendInt32(dst, number)
	return appendString(dst, clientID)
}

// Finish writes the length of a request, which begins at frame[0], in front of
// it.
func Finish(frame []byte) { binary.BigEndian.PutUint32(frame, uint32(len(frame)-4)) }

// AppendSASLHandshake appends the body of version 1: the name of a mechanism, as
// Kafka spells it.
func AppendSASLHandshake(dst []byte, mechanism string) []byte { return appendString(dst, mechanism) }

// AppendSASLAuthenticate appends the body of version 0 or 1: a step of the
// mechanism.
func AppendSASLAuthenticate(dst, step []byte) []byte { return appendBytes(dst, step) }

// AppendMetadata appends the body of version 4: what topics are asked for, none
// of them for the brokers alone. create lets the broker create those that are not
// there.
func AppendMetadata(dst []byte, topics []string, create bool) []byte {
	dst = appendInt32(dst, int32(len(topics)))
	for _, t := range topics {
		dst = appendString(dst, t)
	}
	return appendBool(dst, create)
}

// AppendInitProducerID appends the body of version 0: no transactions, so the
// timeout has no meaning.
func AppendInitProducerID(dst []byte) []byte {
	dst = appendInt16(dst, -1)
	return appendInt32(dst, 0)
}

// topicResource is what DescribeConfigs calls a topic.
const topicResource = 2

// AppendDescribeConfigs appends the body of version 1: the names of settings, of
// topics.
func AppendDescribeConfigs(dst []byte, topics, names []string) []byte {
	dst = appendInt32(dst, int32(len(topics)))
	for _, t := range topics {
		dst = append(dst, topicResource)
		dst = appendString(dst, t)
		dst = appendInt32(dst, int32(len(names)))
		for _, n := range names {
			dst = appendString(dst, n)
		}
	}
	return appendBool(dst, false) // no synonyms
}

// allReplicas asks for the acknowledgement of all replicas in sync: acks=all.
const allReplicas = -1

// AppendProduce appends the begin of the body, the same in all versions: all
// replicas in sync are to have what follows, within so many milliseconds. What
// follows are so many topics: AppendTopic and, for each of its partitions,
// AppendPartition.
func AppendProduce(dst []byte, timeoutMillis int32, topics int) []byte {
	dst = appendInt16(dst, -1) // no transaction
	dst = appendInt16(dst, allReplicas)
	dst = appendInt32(dst, timeoutMillis)
	return appendInt32(dst, int32(topics))
}

// AppendTopic appends a topic of a Produce request, of which so many partitions
// follow.
func AppendTopic(dst []byte, name string, partitions int) []byte {
	dst = appendString(dst, name)
	return appendInt32(dst, int32(partitions))
}

// AppendPartition appends a partition of a Produce request, with the one batch
// that it may have.
func AppendPartition(dst []byte, partition int32, batch []byte) []byte {
	dst = appendInt32(dst, partition)
	return appendBytes(dst, batch)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendInt16(dst []byte, n int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(n)) }
func appendInt32(dst []byte, n int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(n)) }
func appendInt64(dst []byte, n int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(n)) }

// appendString appends a string of up to 32 kB; what is longer is cut, which no
// caller's is.
func appendString(dst []byte, s string) []byte {
	s = s[:min(len(s), maxString)]
	return append(appendInt16(dst, int16(len(s))), s...)
}

const maxString = 1<<15 - 1

func appendBytes(dst, b []byte) []byte {
	return append(appendInt32(dst, int32(len(b))), b...)
}
