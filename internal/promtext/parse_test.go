package promtext

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parsed is what a reader of the format understands.
type parsed struct {
	kinds, helps map[string]string
	values       map[string]float64 // by name and labels, as Go quotes them
	order        []string           // families
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*`)
)

// parse reads the text format by its own grammar, and stricter than Prometheus: a
// family stands together below its HELP and TYPE.
func parse(text string) (parsed, error) {
	p := parsed{kinds: map[string]string{}, helps: map[string]string{}, values: map[string]float64{}}
	if text != "" && !strings.HasSuffix(text, "\n") {
		return p, errors.New("the last line does not end")
	}
	family := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !utf8.ValidString(line) {
			return p, fmt.Errorf("%q is not UTF-8", line)
		}
		var err error
		switch {
		case strings.HasPrefix(line, "# HELP "):
			family, err = p.help(line[7:])
		case strings.HasPrefix(line, "# TYPE "):
			err = p.kind(line[7:], family)
		default:
			err = p.sample(line, family)
		}
		if err != nil {
			return p, fmt.Errorf("%q: %w", line, err)
		}
	}
	return p, nil
}

func (p *parsed) help(rest string) (string, error) {
	name := metricName.FindString(rest)
	if name == "" || !strings.HasPrefix(rest[len(name):], " ") {
		return "", errors.New("HELP of nothing")
	}
	if _, twice := p.helps[name]; twice {
		return "", errors.New("a second HELP")
	}
	text, end, err := unescape(rest[len(name)+1:], false)
	if err != nil || end != "" {
		return "", errors.Join(err, errors.New("a bad help"))
	}
	p.helps[name] = text
	p.order = append(p.order, name)
	return name, nil
}

func (p *parsed) kind(rest, family string) error {
	name, kind, _ := strings.Cut(rest, " ")
	if name != family || p.kinds[name] != "" || kind != "gauge" && kind != "counter" {
		return errors.New("a bad TYPE")
	}
	p.kinds[name] = kind
	return nil
}

func (p *parsed) sample(line, family string) error {
	name := metricName.FindString(line)
	if name == "" || name != family || p.kinds[name] == "" {
		return errors.New("a sample outside its family")
	}
	rest, key, last := line[len(name):], name, ""
	if strings.HasPrefix(rest, "{") {
		for rest = rest[1:]; !strings.HasPrefix(rest, "}"); rest = strings.TrimPrefix(rest, ",") {
			label := labelName.FindString(rest)
			var value string
			var err error
			if label == "" || label <= last || !strings.HasPrefix(rest[len(label):], `="`) {
				return errors.New("a bad label")
			}
			if value, rest, err = unescape(rest[len(label)+2:], true); err != nil {
				return err
			}
			last, key = label, key+fmt.Sprintf(",%s=%q", label, value)
		}
		rest = rest[1:]
	}
	value, err := strconv.ParseFloat(strings.TrimPrefix(rest, " "), 64)
	if err != nil || !strings.HasPrefix(rest, " ") {
		return fmt.Errorf("a bad value: %w", err)
	}
	if _, twice := p.values[key]; twice {
		return errors.New("the same sample twice")
	}
	p.values[key] = value
	return nil
}

// unescape reads up to the closing quotation mark, or to the end.
func unescape(text string, quoted bool) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' && quoted:
			return b.String(), text[i+1:], nil
		case c != '\\':
			b.WriteByte(c)
		default:
			i++
			switch {
			case i == len(text):
				return "", "", errors.New("ends in a backslash")
			case text[i] == 'n':
				b.WriteByte('\n')
			case text[i] == '\\', text[i] == '"' && quoted:
				b.WriteByte(text[i])
			default:
				return "", "", errors.New("an escape that there is not")
			}
		}
	}
	if quoted {
		return "", "", errors.New("a label without an end")
	}
	return b.String(), "", nil
}
