package overnats

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Bounds of what is read: of a line, of the headers of a message, and of its body,
// of which no more is kept.
const (
	maxLine    = 64 << 10
	maxHeaders = 64 << 10
	maxBody    = command.MaxBody + 1
	maxMessage = 64 << 20 // the largest that any server allows
)

// errNotNATS is what a peer is told off with whose bytes are not the protocol.
var errNotNATS = errors.New("what came is not the protocol of NATS — hint: does something else listen on that port?")

// op is what the server says.
type op int

const (
	opInfo op = iota
	opMessage
	opPing
	opPong
	opOK
	opError
)

// event is one thing that the server has said.
type event struct {
	op      op
	text    string // the JSON of an INFO, what an -ERR says
	message message
}

// message is one that was subscribed to. Its status is the one in the first line of
// its headers, and reason what stands behind that.
type message struct {
	subject, sid, reply, status, reason string
	body                                []byte // of one that is too large the beginning, larger than a command may be
}

// info is what a server says of itself, as far as it matters here.
type info struct {
	Version      string `json:"version"`
	Headers      bool   `json:"headers"`
	TLSRequired  bool   `json:"tls_required"`
	TLSAvailable bool   `json:"tls_available"`
	Nonce        string `json:"nonce"`
}

func parseInfo(text string) (i info, err error) {
	if json.Unmarshal([]byte(text), &i) != nil {
		return info{}, errNotNATS
	}
	return i, nil
}

// readEvent reads the next event.
//
// Source: https://docs.nats.io/reference/protocols/client
func readEvent(in *bufio.Reader) (event, error) {
	line, err := readLine(in)
	if err != nil {
		return event{}, err
	}
	word, rest, _ := strings.Cut(line, " ")
	switch rest = strings.TrimLeft(rest, " \t"); strings.ToUpper(word) {
	case "MSG":
		return readMessage(in, strings.Fields(rest), false)
	case "HMSG":
		return readMessage(in, strings.Fields(rest), true)
	case "PING":
		return event{op: opPing}, nil
	case "PONG":
		return event{op: opPong}, nil
	case "+OK":
		return event{op: opOK}, nil
	case "-ERR":
		return event{op: opError, text: strings.Trim(rest, " \t'")}, nil
	case "INFO":
		return event{op: opInfo, text: rest}, nil
	}
	return event{}, fmt.Errorf("%w (a line begins with %s)", errNotNATS, onelink.Quote(word))
}

// readLine reads up to the next line end and returns what is before it.
func readLine(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := in.ReadSlice('\n')
		b.Write(part)
		switch {
		case b.Len() > maxLine:
			return "", errNotNATS
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && b.Len() > 0:
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		return strings.TrimRight(b.String(), "\r\n"), nil
	}
}

// readMessage reads a message, of which words are subject, subscription, perhaps a
// subject for the reply, the size of the headers if it has some, and that of
// everything.
func readMessage(in *bufio.Reader, words []string, headers bool) (event, error) {
	sizes := 1
	if headers {
		sizes = 2
	}
	n := len(words)
	if n != 2+sizes && n != 3+sizes {
		return event{}, errNotNATS
	}
	m := message{subject: words[0], sid: words[1]}
	if n == 3+sizes {
		m.reply = words[2]
	}
	all, err := strconv.ParseUint(words[n-1], 10, 31)
	head := uint64(0)
	if headers && err == nil {
		head, err = strconv.ParseUint(words[n-2], 10, 31)
	}
	if err != nil || all > maxMessage || head > all || head > maxHeaders {
		return event{}, errNotNATS
	}
	text, err := readPart(in, int64(head), maxHeaders)
	if err != nil {
		return event{}, err
	}
	if headers {
		if m.status, m.reason, err = statusOf(string(text)); err != nil {
			return event{}, err
		}
	}
	if m.body, err = readPart(in, int64(all-head), maxBody); err != nil {
		return event{}, err
	}
	end, err := readPart(in, 2, 2)
	if err == nil && string(end) != "\r\n" {
		err = errNotNATS
	}
	return event{op: opMessage, message: m}, err
}

// readPart reads n bytes and keeps so many of them. It grows with what comes, not
// with what is announced.
func readPart(in *bufio.Reader, n, keep int64) ([]byte, error) {
	kept, err := io.ReadAll(io.LimitReader(in, min(n, keep)))
	if err == nil && int64(len(kept)) < min(n, keep) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, in, n-int64(len(kept)))
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return kept, err
}

// statusOf returns the status in the first line of headers, "" if it has none:
//
//	NATS/1.0 408 Request Timeout
func statusOf(headers string) (status, reason string, err error) {
	rest, ok := strings.CutPrefix(headers, "NATS/1.0")
	line, _, found := strings.Cut(rest, "\r\n")
	if !ok || !found {
		return "", "", errNotNATS
	}
	status, reason, _ = strings.Cut(strings.TrimSpace(line), " ")
	return status, reason, nil
}
