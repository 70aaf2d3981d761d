package natsout

import "strconv"

// appendHeader appends a line of headers. A value cannot end its line.
func appendHeader(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	for i := range len(value) {
		c := value[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, "\r\n"...)
}

// appendPublish appends everything of a publish that is in front of its body of
// size bytes. headers end with an empty line.
func appendPublish(dst []byte, subject, inbox string, number uint64, headers []byte, size int) []byte {
	dst = append(append(dst, "HPUB "...), subject...)
	dst = append(append(dst, ' '), inbox...)
	dst = append(strconv.AppendUint(dst, number, 36), ' ')
	dst = append(strconv.AppendInt(dst, int64(len(headers)), 10), ' ')
	dst = strconv.AppendInt(dst, int64(len(headers)+size), 10)
	return append(append(dst, "\r\n"...), headers...)
}

// appendRequest appends a publish without headers.
func appendRequest(dst []byte, subject, inbox string, number uint64, body []byte) []byte {
	dst = append(append(dst, "PUB "...), subject...)
	dst = append(append(dst, ' '), inbox...)
	dst = append(strconv.AppendUint(dst, number, 36), ' ')
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(append(dst, "\r\n"...), body...)
	return append(dst, "\r\n"...)
}
