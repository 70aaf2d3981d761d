package route

import (
	"strings"
	"unicode/utf8"
)

// maxTopic is how long a topic may be, in bytes: as long as the broker keeps.
const maxTopic = 1 << 10

// CheckTopic returns what is wrong with a topic that is none, "" if it is one.
// The rules are MQTT's, so that a topic means the same at every door.
func CheckTopic(topic string) (problem string) {
	switch {
	case topic == "":
		return "it is empty"
	case len(topic) > maxTopic:
		return "at most 1024 bytes are taken"
	case strings.ContainsAny(topic, "+#\x00"):
		return "wildcards, + and #, are for those who read"
	case !utf8.ValidString(topic):
		return "it must be UTF-8"
	}
	return ""
}
