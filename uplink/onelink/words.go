package onelink

import (
	"regexp"
	"strconv"
	"strings"
)

// maxQuote is how much of a foreign text is quoted in an error, in bytes.
const maxQuote = 200

// Quote makes the head of what the other side says safe for logs and terminals.
func Quote(text string) string {
	if len(text) > maxQuote {
		text = text[:maxQuote] + "..."
	}
	return strconv.Quote(strings.ToValidUTF8(text, "?"))
}

var limitText = regexp.MustCompile(`message size \d+ is larger than (?:configured )?max size (\d{1,10})\b`)

// StatedLimit returns the size in bytes that RabbitMQ names when it refuses a
// larger message, whatever the protocol: AMQP 0-9-1 has no place for it. 0 if
// the text names none.
func StatedLimit(text string) int64 {
	found := limitText.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Swap exchanges slashes and dots: topic exchanges part words by dots, devices have
// slashes. RabbitMQ does the same to the topics of MQTT, both ways, so that a
// subscriber over there sees the names as they are here.
func Swap(name string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, name)
}
