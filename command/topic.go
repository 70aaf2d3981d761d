package command

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxTopic  = 1 << 10
	maxLevels = 32 // as the broker has it
)

// checkTopic says what is wrong with the topic of a message, "" if nothing is.
func checkTopic(topic string) string {
	switch {
	case topic == "":
		return "the topic is empty"
	case len(topic) > maxTopic:
		return "the topic is longer than 1024 bytes"
	case !utf8.ValidString(topic) || strings.ContainsFunc(topic, unicode.IsControl):
		return "the topic is no text, or holds control characters"
	case strings.ContainsAny(topic, "+#"):
		return "the topic holds a wildcard, and a command is for one topic"
	case topic[0] == '$':
		return "topics that begin with $ are the broker's own"
	case strings.Count(topic, "/") >= maxLevels:
		return "the topic has more than 32 levels"
	}
	return ""
}

// CheckFilter says what is wrong with a filter of Config.Allow.
func CheckFilter(filter string) error {
	bad := filter == "" || len(filter) > maxTopic || !utf8.ValidString(filter) || strings.ContainsFunc(filter, unicode.IsControl)
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		bad = bad || level != "#" && level != "+" && strings.ContainsAny(level, "+#") || level == "#" && i < len(levels)-1
	}
	switch {
	case bad || len(levels) > maxLevels:
		return fmt.Errorf("%q is no topic filter — hint: write for example \"dev/+/set\"", filter)
	case filter[0] == '$':
		return fmt.Errorf("%q is about topics of the broker's own — hint: no command may go there", filter)
	}
	return nil
}

// allows says whether one of the filters matches the topic.
func allows(filters []string, topic string) bool {
	for _, f := range filters {
		if matches(f, topic) {
			return true
		}
	}
	return false
}

// matches is the rule of MQTT 5, §4.7, for topics that do not begin with $.
func matches(filter, topic string) bool {
	for {
		f, filterRest, filterMore := strings.Cut(filter, "/")
		t, topicRest, topicMore := strings.Cut(topic, "/")
		switch {
		case f == "#":
			return true
		case f != "+" && f != t:
			return false
		case !topicMore:
			return !filterMore || filterRest == "#"
		case !filterMore:
			return false
		}
		filter, topic = filterRest, topicRest
	}
}
