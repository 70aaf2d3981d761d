package daemon

import (
	"os"
	"testing"
)

// Who goes back to an earlier program, and forth again, loses nothing that any of them
// has acknowledged, as long as both write the same formats. DOWNGRADE names the earlier
// program; "make downgrade FROM=COMMIT" builds one and runs this.
func TestGoingBackAndForthLosesNothing(t *testing.T) {
	earlier := os.Getenv("DOWNGRADE")
	if earlier == "" {
		t.Skip("DOWNGRADE names no earlier program: \"make downgrade FROM=COMMIT\" builds one")
	}
	for name, end := range map[string]func(*program){"stopped": (*program).stop, "killed": (*program).kill} {
		t.Run(name, func(t *testing.T) {
			m := &corpusMaker{site: newSite(t), gateway: "tidegate"}
			shore := m.startCloud()
			m.begin()
			m.publishUpTo(20)
			m.eventually("the first are delivered", func() bool { st, ok := m.status(); return ok && st.Links[0].Acked >= 40 })
			shore.kill()
			m.publishUpTo(40)
			end(m.running)
			for _, p := range []string{earlier, "tidegate", earlier} {
				m.gateway = p
				m.begin()
				m.publishUpTo(m.want.Acked + 20)
				end(m.running)
			}
			m.gateway = "tidegate"
			m.begin()
			m.publishUpTo(m.want.Acked + 20)
			m.startCloud()
			m.eventuallyDelivered()
			m.checkNumbers(m.want.Acked)
			end(m.running)
		})
	}
}
