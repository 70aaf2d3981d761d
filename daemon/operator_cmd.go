package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/login"
)

const operatorUsage = `Who gets in on the live page, and with its requests:

Usage:
  tidegate setup-code                     print the code that makes an operator, and
                                          let it be used for another half an hour
  tidegate operator passwd                set the operator's password; asks for it, or
                                          reads a line
  tidegate operator reset                 forget the operator, and print a set-up code
  tidegate token add NAME [-access look]  make a token for a program, and print it
                                          once; with -access operate it may do
                                          everything but sign in and make tokens
  tidegate token ls  [-json]              list the tokens
  tidegate token rm  NAME                 revoke a token

All take -config FILE. The gateway must be running.
Exit codes: 0 fine, 1 it did not work, 2 the call is wrong.
`

// errNoDashboard is for commands about an entrance that there is not.
var errNoDashboard = errors.New("the dashboard is off, so nobody signs in — hint: set dashboard.listen")

// operatorCommand returns the command about who gets in that args call, and the
// number of words that it has; nil for none.
func operatorCommand(args []string) (run func(*operatorCall) error, words int) {
	two := strings.Join(args[:min(2, len(args))], " ")
	if run = map[string]func(*operatorCall) error{
		"operator passwd": (*operatorCall).passwd, "operator reset": (*operatorCall).reset,
		"token add": (*operatorCall).add, "token ls": (*operatorCall).list, "token rm": (*operatorCall).revoke,
	}[two]; run != nil {
		return run, 2
	}
	if args[0] == "setup-code" {
		return (*operatorCall).code, 1
	}
	return nil, 0
}

// operatorCall is one call of such a command.
type operatorCall struct {
	call
	token  string // its name
	access string
}

// operatorMain runs "tidegate setup-code", "operator" and "token"; args begin with
// that word.
func operatorMain(args []string, stdout, stderr io.Writer) int {
	if len(args) > 1 && isHelp(args[1]) {
		io.WriteString(stdout, operatorUsage)
		return exitOK
	}
	run, words := operatorCommand(args)
	if run == nil {
		fmt.Fprintf(stderr, "tidegate: there is no command %q\n\n%s", strings.Join(args, " "), operatorUsage)
		return exitUsage
	}
	name, rest := strings.Join(args[:words], " "), args[words:]
	c := &operatorCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate "+name, flag.ContinueOnError)}}
	c.flags.SetOutput(stderr)
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	switch name {
	case "token add":
		c.flags.StringVar(&c.access, "access", "look", "what it may do: `look or operate`")
	case "token ls":
		c.flags.BoolVar(&c.json, "json", false, "print JSON")
	}
	named := name == "token add" || name == "token rm"
	if err := c.parse(rest, named); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		if errors.As(err, new(usageError)) {
			fmt.Fprintf(stderr, "tidegate %s: %v\n", name, err)
		}
		return exitUsage
	}
	return c.report(run(c))
}

// parse takes flags, and a name before or behind them.
func (c *operatorCall) parse(args []string, named bool) error {
	if named && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		c.token, args = args[0], args[1:]
	}
	if err := c.flags.Parse(args); err != nil {
		return err
	}
	rest := c.flags.Args()
	if named && c.token == "" && len(rest) > 0 {
		c.token, rest = rest[0], rest[1:]
	}
	switch {
	case named && c.token == "":
		return usageError{errors.New("which token? — hint: write its name")}
	case len(rest) > 0:
		return usageError{fmt.Errorf("%q is not expected here — hint: tidegate token help", rest[0])}
	}
	return nil
}

// hashTime is how long the daemon may take where it hashes a password: milliseconds with
// 64 bits, some six seconds on the processor of a Raspberry Pi Zero, twice that when
// somebody signs in meanwhile.
const hashTime = time.Minute

// ask asks a running gateway about who gets in, and returns its configuration.
func (c *operatorCall) ask(method, path string, body, into any) (Config, error) {
	cfg, err := c.load()
	if err == nil && cfg.Dashboard.Listen == "" {
		err = errNoDashboard
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), hashTime)
		defer cancel()
		err = askAdmin(ctx, cfg.Gateway.SocketPath(), method, path, body, into)
	}
	return cfg, err
}

func (c *operatorCall) code() error { return c.showCode("/api/v1/setup-code") }

func (c *operatorCall) reset() error { return c.showCode("/api/v1/operator/reset") }

// showCode prints the set-up code, as it is typed and as an address.
func (c *operatorCall) showCode(path string) error {
	var s api.SetupCode
	cfg, err := c.ask(http.MethodPost, path, nil, &s)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s\n", s.Code)
	fmt.Fprintf(c.stderr, "for %d minutes, at %s#code=%s\n", s.Seconds/60, pageURL(cfg.Dashboard.Listen, cfg.Dashboard.secure()), s.Code)
	if s.Fingerprint != "" {
		fmt.Fprintf(c.stderr, "certificate SHA-256 %s\n", s.Fingerprint)
	}
	if cfg.Dashboard.homely() {
		fmt.Fprintln(c.stderr, abroad)
	}
	return nil
}

func (c *operatorCall) passwd() error {
	password, err := askPassword(os.Stdin, c.stderr)
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	_, err = c.ask(http.MethodPost, "/api/v1/operator/password", map[string]string{"password": string(password)}, &struct{}{})
	return err
}

func (c *operatorCall) add() error {
	var t api.AddToken
	if err := t.Access.UnmarshalText([]byte(c.access)); err != nil {
		return usageError{err}
	}
	t.Name = c.token
	if _, err := c.ask(http.MethodPost, "/api/v1/tokens", t, &t); err != nil {
		return err
	}
	fmt.Fprintln(c.stderr, "this is shown once:")
	_, err := fmt.Fprintln(c.stdout, t.Token)
	return err
}

func (c *operatorCall) revoke() error {
	_, err := c.ask(http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(c.token), nil, &struct{}{})
	return err
}

func (c *operatorCall) list() error {
	tokens := []login.Token{}
	if _, err := c.ask(http.MethodGet, "/api/v1/tokens", nil, &tokens); err != nil {
		return err
	}
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(tokens)
	}
	if len(tokens) == 0 {
		_, err := io.WriteString(c.stdout, "there are no tokens\n")
		return err
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tACCESS\tMADE (UTC)\tLAST USED")
	for _, token := range tokens {
		used := "never"
		if !token.Used.IsZero() {
			used = token.Used.Format("2006-01-02 15h")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", token.Name, token.Access, token.Created.Format(time.DateTime), used)
	}
	return t.Flush()
}
