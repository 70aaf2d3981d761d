package daemon

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestSerialInABrowser runs browsertest/serial.mjs, which says what the page must do
// for somebody with a cable in one hand. With TIDEGATE_PICTURES=folder it leaves
// screenshots there.
func TestSerialInABrowser(t *testing.T) {
	pb := newPortBench(t)
	hall, _ := pb.plug("ttyUSB0", "HALL")
	boiler, _ := pb.plug("ttyUSB3", "BOILER")
	pb.slaves("ttyUSB0", map[byte]int{3: 40, 7: 12})
	b := newBench(t, pb, fmt.Sprintf("[[modbus.map]]\nname = \"meter\"\n[[modbus.map.register]]\nmetric = \"power\"\naddress = 1\n[[ingest.modbus]]\nname = \"hall\"\nurl = \"rtu:%s\"\nbaud = 115200\n[[ingest.modbus.slave]]\nunit = 3\ndevice = \"meter-3\"\nmap = \"meter\"\ninterval = \"1s\"\n[[ingest.serial]]\nname = \"boiler\"\nport = %q\nallow_send = true\n", hall, boiler))
	pb.speak("ttyUSB3", "{\"temp\":71.5}\r\n", 200*time.Millisecond)
	browse(t, "serial.mjs", b.page, pb.scenes())
}

// scenes are what happens to the cables.
func (b *portBench) scenes() http.Handler {
	mux := http.NewServeMux()
	receiver := func(tty, serial string) func(http.ResponseWriter, *http.Request) {
		return func(http.ResponseWriter, *http.Request) {
			b.plug(tty, serial)
			b.speak(tty, "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n", 40*time.Millisecond)
		}
	}
	mux.HandleFunc("POST /plug", receiver("ttyUSB1", "GPS7"))
	mux.HandleFunc("POST /replug", receiver("ttyUSB5", "GPS9"))
	mux.HandleFunc("POST /unplug", func(http.ResponseWriter, *http.Request) { b.unplug("ttyUSB1", "GPS7") })
	mux.HandleFunc("POST /flood", func(http.ResponseWriter, *http.Request) {
		b.plug("ttyUSB2", "FLOOD")
		flood := make([]byte, 920)
		for i := range flood {
			flood[i] = byte(i)
		}
		b.speak("ttyUSB2", string(flood), 10*time.Millisecond)
	})
	mux.HandleFunc("POST /echo", func(http.ResponseWriter, *http.Request) {
		b.plug("ttyUSB4", "SHY")
		b.cable("ttyUSB4")
		end := b.devices["ttyUSB4"]
		go io.Copy(end, end) // ends with the test
	})
	return mux
}
