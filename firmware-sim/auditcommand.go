package firmwaresim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

const auditUsage = `
Asks for every acknowledged sample of a ledger whether the cloud has it, and
whether the cloud has anything twice. The export is NDJSON, one reading a row.
The exit code is 1 when anything is lost or there twice.

Examples:
  firmware-sim audit -ledger acked.ledger -cloud http://127.0.0.1:8440/v1/export
  firmware-sim audit -ledger acked.ledger -cloud export.ndjson
  tidegate-cloud export -data cloud | firmware-sim audit -ledger acked.ledger -cloud -`

var errBroken = errors.New("the promise is broken")

func runAudit(ctx context.Context, args []string, to console) error {
	flags := newFlags("audit", auditUsage, to)
	ledgerFile := flags.String("ledger", "", "`file` that the fleet wrote")
	cloud := flags.String("cloud", "", "`file` or URL of the cloud's export; -: standard input")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if *ledgerFile == "" || *cloud == "" {
		return usageError{errors.New("-ledger and -cloud are needed — hint: firmware-sim help audit")}
	}
	file, err := os.Open(*ledgerFile)
	if err != nil {
		return err
	}
	defer file.Close()
	ledger, err := ReadLedger(file)
	if err != nil {
		return err
	}
	verdict, err := auditCloud(ctx, ledger, *cloud)
	if err != nil {
		return err
	}
	return pronounce(verdict, to.out)
}

// auditCloud audits an export that is a file, a URL or standard input.
func auditCloud(ctx context.Context, ledger *Ledger, where string) (Verdict, error) {
	export, err := openExport(ctx, where)
	if err != nil {
		return Verdict{}, err
	}
	defer export.Close()
	return Audit(ledger, export)
}

func openExport(ctx context.Context, where string) (io.ReadCloser, error) {
	if where == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	if !strings.HasPrefix(where, "http://") && !strings.HasPrefix(where, "https://") {
		return os.Open(where)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s answered %s", where, response.Status)
	}
	return response.Body, nil
}

// pronounce prints a verdict, its one line last. It returns errBroken when the
// verdict is not good.
func pronounce(v Verdict, out io.Writer) error {
	for _, s := range v.FirstLost {
		fmt.Fprintf(out, "lost: %s %d\n", s.Device, s.Seq)
	}
	if more := v.Lost - uint64(len(v.FirstLost)); more > 0 {
		fmt.Fprintf(out, "lost: and %s more\n", thousands(more))
	}
	if _, err := fmt.Fprintln(out, v); err != nil {
		return err
	}
	if !v.OK() {
		return errBroken
	}
	return nil
}
