package daemon

import (
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/login"
)

// writeAccess prints who gets in on the page, and who tried.
func writeAccess(b *strings.Builder, a *dashboard.Gatehouse) {
	if a == nil {
		return
	}
	var page []string
	if a.TLS {
		page = append(page, "TLS")
	}
	if !a.SetUp {
		page = append(page, "no operator yet")
	}
	wrong := a.Events[string(login.WrongPassword)] + a.Events[string(login.WrongCode)] + a.Events[string(login.WrongToken)]
	foreign := a.Events[string(login.ForeignHost)] + a.Events[string(login.ForeignOrigin)]
	fmt.Fprintf(b, "\npage: %s\n", strings.Join(append(page,
		fmt.Sprintf("%d signed in", a.Sessions), fmt.Sprintf("%d tokens", a.Tokens),
		fmt.Sprintf("%d wrong passwords, codes and tokens", wrong), fmt.Sprintf("%d requests from foreign pages", foreign)), ", "))
}
