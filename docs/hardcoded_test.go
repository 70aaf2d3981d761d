package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	// randomLike matches words of the length of a key of 64 bits or more.
	randomLike = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}`)
	// secretName matches what is called like a secret, and not like its name, file or kind.
	secretName = regexp.MustCompile(`(?i)(password|passwd|passphrase|secret|token|psk|apikey)$`)
)

// noSecrets look like secrets and are none: digits, names of events, and what everybody
// knows.
var noSecrets = map[string]string{
	`"0123456789abcdef"`:               "digits",
	`"0123456789ABCDEF"`:               "digits",
	`WrongPassword = "wrong_password"`: "the name of an event",
	`WrongToken = "wrong_token"`:       "the name of an event",
	`Password = "guest"`:               "what RabbitMQ comes with, for who has configured nothing",
	`storePassword = "changeit"`:       "a server that tests start",
	`WrongPassword = "guessed-4711"`:   "a password that servers of tests must refuse",
}

// looksRandom says whether a text could be a key: hexadecimal, or capitals, small
// letters and digits in a heap.
func looksRandom(text string) bool {
	for _, word := range randomLike.FindAllString(text, -1) {
		digits := strings.ContainsAny(word, "0123456789")
		hexadecimal := strings.Trim(word, "0123456789abcdefABCDEF") == ""
		mixed := strings.ToLower(word) != word && strings.ToUpper(word) != word
		if digits && (hexadecimal && strings.Trim(word, "0123456789") != "" || mixed && regexp.MustCompile(`\d\D+\d\D+\d`).MatchString(word)) {
			return true
		}
	}
	return strings.Contains(text, "PRIVATE KEY-----")
}

// hardcoded returns the texts of a file that look like secrets, or are called so.
func hardcoded(file *ast.File) (all []string) {
	named := func(name ast.Expr, value ast.Expr) {
		ident, isIdent := name.(*ast.Ident)
		text, isText := value.(*ast.BasicLit)
		if isIdent && isText && text.Kind == token.STRING && secretName.MatchString(ident.Name) && len(text.Value) > 2 {
			all = append(all, ident.Name+" = "+text.Value)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && looksRandom(text) {
				all = append(all, n.Value)
			}
		case *ast.KeyValueExpr:
			named(n.Key, n.Value)
		case *ast.ValueSpec:
			for i := range min(len(n.Names), len(n.Values)) {
				named(n.Names[i], n.Values[i])
			}
		case *ast.AssignStmt:
			for i := range min(len(n.Lhs), len(n.Rhs)) {
				named(n.Lhs[i], n.Rhs[i])
			}
		}
		return true
	})
	return all
}

// TestNoSecretIsInTheSource reads the programs' own code, without tests and what they
// compile in from elsewhere.
func TestNoSecretIsInTheSource(t *testing.T) {
	files, used := 0, make(map[string]bool)
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		for _, text := range hardcoded(file) {
			if used[text] = true; noSecrets[text] == "" {
				t.Errorf("%s: %s looks like a secret", name, text)
			}
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files were read, %v", files, err)
	}
	for text := range noSecrets {
		if !used[text] {
			t.Errorf("%s stands nowhere any more", text)
		}
	}
}

// TestSecretsInASourceAreFound has what the test above must not miss.
func TestSecretsInASourceAreFound(t *testing.T) {
	for _, line := range []string{
		`const adminPassword = "admin"`,
		`var k = "2b7e151628aed2a6abf7158809cf4f3c"`,
		`var k = "u9X2kQpL4mZr8TnW"`,
		`var c = client{Token: "letmein"}`,
		"var k = `-----BEGIN PRIVATE KEY-----`",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "a.go", "package a\n"+line, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if len(hardcoded(file)) == 0 {
			t.Errorf("%s is not found", line)
		}
	}
}
