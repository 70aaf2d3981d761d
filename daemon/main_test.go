package daemon

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/cloud"
)

// TestMain lets the test binary run under the names of the programs as well, so
// that tests and scripts can start, signal and kill real processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tidegate": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
		"cloud":    func() { os.Exit(serveCloud(os.Args[1], os.Args[2])) },
	})
}

// serveCloud receives on the address and stores in the folder until it is killed.
func serveCloud(address, dir string) int {
	err := func() error {
		store, err := cloud.Open(cloud.StoreConfig{Dir: dir})
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		return http.Serve(listener, cloud.Routes(cloud.NewReceiver(cloud.ReceiverConfig{}, store, log), store))
	}()
	fmt.Fprintln(os.Stderr, "cloud:", err)
	return exitFailure
}
