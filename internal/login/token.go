package login

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	tokensFile = "tokens.json"
	// tokenMark begins every token, so that one is recognized where it should
	// not be.
	tokenMark = "tg_"
	maxTokens = 64
	maxName   = 64
	// saveUse is how often the last use of a token is written to flash.
	saveUse = 24 * time.Hour
)

// Token is what is known of one.
type Token struct {
	Name   string `json:"name"`
	Access Level  `json:"access"`
	// Created and Used are by the gateway's clock. Used is to the hour, and
	// after a crash to the day; zero stands for never.
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
}

// token is one of tokens.json.
type token struct {
	Token
	SHA256 string `json:"sha256"`

	ties  ties
	hash  digest
	saved time.Time // when Used was written
	inUse bool      // since the start
}

// tokenList is tokens.json.
type tokenList struct {
	Version int      `json:"version"`
	Tokens  []*token `json:"tokens"`
}

// loadTokens reads the tokens. Those of a damaged file do not count any more.
func (g *Gate) loadTokens(log *slog.Logger) {
	path := g.path(tokensFile)
	var list tokenList
	err := load(path, &list)
	if err == nil {
		err = list.check()
	}
	switch {
	case err == nil:
		g.tokens = list.Tokens
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(err, new(*fs.PathError)):
		log.Error("no token is valid", "err", err)
	case errors.Is(err, errLater):
		log.Error("no token is valid: their file is kept for the version that wrote it — hint: install that version again, or make others with \"tidegate token add\"", "err", fmt.Errorf("%s %w", tokensFile, err))
	default:
		err = errors.Join(err, os.Rename(path, path+setAside))
		log.Error("the file of tokens was damaged, and is set aside: none is valid — hint: make them anew with \"tidegate token add\"", "err", err)
	}
}

func (l *tokenList) check() error {
	if l.Version != fileVersion {
		return fmt.Errorf("version %d", l.Version)
	}
	for i, t := range l.Tokens {
		if t == nil || t.Access == None || !isName(t.Name) || l.find(t.Name) != i {
			return fmt.Errorf("token %d", i)
		}
		hash, err := hex.DecodeString(t.SHA256)
		if err != nil || len(hash) != len(t.hash) {
			return fmt.Errorf("hash of the token %s", t.Name)
		}
		t.hash, t.saved = digest(hash), t.Used
	}
	return nil
}

func (l *tokenList) find(name string) int {
	return slices.IndexFunc(l.Tokens, func(t *token) bool { return t != nil && t.Name == name })
}

// setTokens writes tokens down and makes them the valid ones. The caller holds
// g.mu.
func (g *Gate) setTokens(tokens []*token) error {
	if err := save(g.path(tokensFile), tokenList{fileVersion, tokens}); err != nil {
		return err
	}
	g.tokens = tokens
	return nil
}

// Token returns what a token allows.
func (g *Gate) Token(from From, secret string) (Grant, bool) {
	hash := digestOf(secret)
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.tokens, func(t *token) bool { return t.hash == hash })
	if i < 0 || !strings.HasPrefix(secret, tokenMark) {
		g.events.note(WrongToken, from)
		return Grant{}, false
	}
	t, now := g.tokens[i], g.config.Now()
	t.Used = now.UTC().Truncate(time.Hour)
	if !t.inUse {
		t.inUse = true
		g.events.note(TokenUsed, from, "token", t.Name)
	}
	if now.Sub(t.saved) >= saveUse {
		t.saved = now // whether it works or not: a full disk is not tried at each use
		_ = save(g.path(tokensFile), tokenList{fileVersion, g.tokens})
	}
	return Grant{Level: t.Access, Token: t.Name, gate: g, ties: &t.ties}, true
}

// Tokens lists the tokens by name.
func (g *Gate) Tokens() []Token {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := []Token{}
	for _, t := range g.tokens {
		all = append(all, t.Token)
	}
	sort.Slice(all, func(i, k int) bool { return all[i].Name < all[k].Name })
	return all
}

// AddToken makes a token, and returns it this once.
func (g *Gate) AddToken(from From, name string, level Level) (secret string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := tokenList{fileVersion, g.tokens}
	switch {
	case !isName(name):
		return "", say(ErrUnfit, "%.80q is no name for a token — hint: use up to %d letters, digits, dots, dashes and underscores", name, maxName)
	case level == None:
		return "", say(ErrUnfit, "the token would open nothing — hint: give it the access look or operate")
	case list.find(name) >= 0:
		return "", say(nil, "there is a token %q already — hint: choose another name, or revoke that one first", name)
	case len(g.tokens) >= maxTokens:
		return "", say(nil, "there are %d tokens, which is as many as there may be — hint: revoke one that is not used any more", maxTokens)
	}
	secret = tokenMark + newSecret()
	t := &token{Token: Token{Name: name, Access: level, Created: g.config.Now().UTC().Truncate(time.Second)}, hash: digestOf(secret)}
	t.SHA256 = hex.EncodeToString(t.hash[:])
	if err := g.setTokens(append(slices.Clone(g.tokens), t)); err != nil {
		return "", err
	}
	g.events.note(TokenMade, from, "token", name, "access", level.String())
	return secret, nil
}

// RevokeToken ends a token, and what it has allowed.
func (g *Gate) RevokeToken(from From, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := tokenList{fileVersion, g.tokens}
	i := list.find(name)
	if i < 0 {
		return say(ErrUnknown, "there is no token %.80q — hint: \"tidegate token ls\" lists them", name)
	}
	t := g.tokens[i]
	if err := g.setTokens(slices.Delete(slices.Clone(g.tokens), i, i+1)); err != nil {
		return err
	}
	t.ties.end()
	g.events.note(TokenRevoked, from, "token", name)
	return nil
}

// isName says whether a token may be called that: it stands in logs and paths as
// it is.
func isName(s string) bool {
	odd := func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, odd) && strings.Trim(s, ".") != ""
}
