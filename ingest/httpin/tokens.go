package httpin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/ingest/route"
)

// Tokens are secrets that let requests in, each under a name. It never changes
// and is safe for concurrent use.
type Tokens struct{ holders map[[sha256.Size]byte]*holder }

// holder is who has a token.
type holder struct {
	name   string
	topics []*route.Template // none stands for all
}

// MinToken is the length, in bytes, of the shortest token.
const MinToken = 16

// The bounds of a file of tokens.
const (
	maxTokens     = 100_000
	maxTokensFile = 16 << 20
)

const tokenLine = `write a line "NAME TOKEN [TOPIC...]" for each; "openssl rand -hex 16" makes a token`

// ParseTokens reads lines of a name, a token and, if its holder may not publish
// to everything, topics, which may have wildcards as an MQTT filter or a route
// has. Instead of the token there may be its hash, as "sha256:" and 64 digits.
// Empty lines, and those that begin with #, mean nothing.
func ParseTokens(text []byte) (*Tokens, error) {
	if len(text) > maxTokensFile {
		return nil, fmt.Errorf("larger than 16 MiB — hint: %s", tokenLine)
	}
	t := &Tokens{holders: map[[sha256.Size]byte]*holder{}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxTokensFile+1)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := t.add(words); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return t, lines.Err()
}

func (t *Tokens) add(words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("no token — hint: %s", tokenLine)
	}
	if len(t.holders) == maxTokens {
		return fmt.Errorf("more than %d tokens — hint: devices that may do the same can share one", maxTokens)
	}
	key, err := tokenKey(words[1])
	if err != nil {
		return err
	}
	if other, taken := t.holders[key]; taken {
		return fmt.Errorf("%s has the token of %s — hint: give everybody one of their own", words[0], other.name)
	}
	h := &holder{name: words[0]}
	for _, topic := range words[2:] {
		template, err := route.ParseTemplate(topic)
		if err != nil {
			return err
		}
		h.topics = append(h.topics, template)
	}
	t.holders[key] = h
	return nil
}

// tokenKey is what a token is known by. Tokens are long and random, so a hash
// without salt and rounds tells nothing, and a look at a table of hashes gives
// nothing away by the time it takes.
func tokenKey(token string) (key [sha256.Size]byte, err error) {
	digits, hashed := strings.CutPrefix(token, "sha256:")
	if !hashed {
		if len(token) < MinToken {
			return key, fmt.Errorf("token of %d bytes, want %d or more — hint: %s", len(token), MinToken, tokenLine)
		}
		return sha256.Sum256([]byte(token)), nil
	}
	if n, err := hex.Decode(key[:], []byte(digits)); err != nil || n != len(key) {
		return key, fmt.Errorf(`"sha256:" wants 64 hexadecimal digits — hint: printf %%s "$TOKEN" | sha256sum`)
	}
	return key, nil
}

// Len returns how many tokens there are.
func (t *Tokens) Len() int { return len(t.holders) }

// find returns who has the token, nil if nobody.
func (t *Tokens) find(token string) *holder {
	if len(token) < MinToken {
		return nil
	}
	return t.holders[sha256.Sum256([]byte(token))]
}

// mayPublish says whether the holder may publish to the topic.
func (h *holder) mayPublish(topic string) bool {
	for _, t := range h.topics {
		if _, ok := t.Match(topic); ok {
			return true
		}
	}
	return len(h.topics) == 0
}
