package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"path"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/serialport"
)

// SerialPorts knows the serial ports of the machine.
type SerialPorts interface {
	// Ports lists them. It opens none.
	Ports() ([]SerialPort, error)
	// WatchPorts tells the list, and again whenever it has changed, until ctx ends.
	WatchPorts(ctx context.Context, tell func(SerialPortList) error) error
	// Report is what was found at a port, and what is read there.
	Report(port string) (SerialReport, error)
}

// SerialWork is what a person does at a serial port: one thing at a time at each,
// and not longer than they wait for it. Whatever tell returns as an error ends it.
type SerialWork interface {
	// Listen tells what goes over a line until ctx ends.
	Listen(ctx context.Context, ask SerialListen, tell func(SerialHeard) error) error
	// Probe finds out how the device speaks.
	Probe(ctx context.Context, ask SerialProbe, tell func(SerialTried) error) error
	// Send writes to the device.
	Send(ctx context.Context, ask SerialSend) (SerialSent, error)
	// Scan looks for the slaves of a Modbus bus.
	Scan(ctx context.Context, ask ModbusScan, tell func(ModbusScanned) error) error
}

// SerialPort is a port, the name to configure it by, and who has it.
type SerialPort struct {
	serialport.Info
	// Title and Facts say in words what it is, and whether it is free.
	Title string `json:"title"`
	Facts string `json:"facts"`
	// Configure is the name that stays with the device, or its socket.
	Configure string `json:"configure"`
	// Door is the door that is configured there.
	Door string `json:"door,omitempty"`
	// Settings are those of its door, or those that were found out, "9600 8N1".
	Settings string `json:"settings,omitempty"`
	// Task is what somebody does there now: "listening", "probing", "scanning".
	Task string `json:"task,omitempty"`
}

// SerialPortList is all ports there are.
type SerialPortList struct {
	Ports []SerialPort `json:"ports"`
}

// SerialPlace is where something is done, and how it comes to have the port.
type SerialPlace struct {
	// Port is any name of a port.
	Port string `json:"port,omitempty"`
	// Door is a door at a serial line, instead of Port: serial:NAME or modbus:NAME.
	Door string `json:"door,omitempty"`
	// Pause lets the door that has the port rest meanwhile.
	Pause bool `json:"pause,omitempty"`
	// TakeOver ends what somebody else does there.
	TakeOver bool `json:"take_over,omitempty"`
}

// SerialSettings are those of a line; what is not said is as for the door, or else
// 9600 8N1.
type SerialSettings struct {
	// Settings are both in one, "9600 8N1".
	Settings string `json:"settings,omitempty"`
	// Baud is the speed in bits a second.
	Baud int `json:"baud,omitempty"`
	// Format is data bits, parity and stop bits: 8N1, 7E1.
	Format string `json:"format,omitempty"`
}

// SerialListen asks for what goes over a line.
type SerialListen struct {
	SerialPlace
	SerialSettings
	// Framing and Checksum count frames, as in [ingest.serial.framing]; lines of
	// text by default.
	Framing  string `json:"framing,omitempty"`
	Checksum string `json:"checksum,omitempty"`
}

// SerialHeard is what went over a line since the one before: ten times a second at
// the most, and once a second at least.
type SerialHeard struct {
	// Say is what is known of the line in words: its settings, and what was wrong.
	Say string `json:"say"`
	// Settings are those of the line, "9600 8N1"; in the first one only, as is Door,
	// the door through which is listened.
	Settings string `json:"settings,omitempty"`
	Door     string `json:"door,omitempty"`
	// Pieces are what was seen, in order.
	Pieces []SerialPiece `json:"pieces,omitempty"`
	// Missed is how many bytes before these are not shown, because they came too fast.
	Missed int `json:"missed,omitempty"`
	// Counts are those since the beginning, Wrong how many bytes and frames of these
	// were.
	Counts SerialCounts `json:"counts"`
	Wrong  uint64       `json:"wrong"`
	// Advice is what the counts mean, if that is known: "… — hint: …".
	Advice string `json:"advice,omitempty"`
}

// SerialPiece is bytes that went in one direction without a silence between them: a
// line of text, or a few dozen.
type SerialPiece struct {
	// At is when the first of them was seen, in Unix milliseconds.
	At int64 `json:"at"`
	// Direction is in, from the device, or out, to it.
	Direction string `json:"direction"`
	Bytes     Hex    `json:"bytes"`
	// Damaged are the places of bytes that the driver has marked.
	Damaged []int `json:"damaged,omitempty"`
}

// SerialCounts are what happened on a line.
type SerialCounts struct {
	Received uint64 `json:"received"`
	Sent     uint64 `json:"sent"`
	// Frames came whole; BadChecksums did not.
	Frames       uint64 `json:"frames"`
	BadChecksums uint64 `json:"bad_checksums"`
	// Damaged bytes were marked by the driver. Counted says whether it tells the
	// kinds apart.
	Damaged uint64 `json:"damaged"`
	Counted bool   `json:"counted"`
	// ParityErrors, FrameErrors (a stop bit is missing), Breaks, and bytes that were
	// lost.
	ParityErrors uint64 `json:"parity_errors"`
	FrameErrors  uint64 `json:"frame_errors"`
	Breaks       uint64 `json:"breaks"`
	Overruns     uint64 `json:"overruns"`
}

// SerialProbe asks how the device at a port speaks.
type SerialProbe struct {
	SerialPlace
	// Send is what makes the device speak, in the notation of the configuration:
	// 'T?\r\n' or "hex:01 03". Nothing is sent without it.
	Send string `json:"send,omitempty"`
	// Bauds are the speeds to try; all usual ones by default.
	Bauds []int `json:"bauds,omitempty"`
	// Listen is for how long at each setting, in milliseconds; 1,200 by default.
	Listen int `json:"listen_ms,omitempty"`
}

// SerialTried is what was heard at one setting, or, in the last line, the Result.
type SerialTried struct {
	// Say is this in words.
	Say string `json:"say"`
	// Setting is "9600 8N1".
	Setting string `json:"setting,omitempty"`
	// Bytes came, of which Damaged ones were marked. Unable says that the driver
	// cannot do it.
	Bytes   int  `json:"bytes"`
	Damaged int  `json:"damaged,omitempty"`
	Unable  bool `json:"unable,omitempty"`
	// Done settings, Of so many if none explains what is heard.
	Done int `json:"done"`
	Of   int `json:"of"`
	// Result is what all of it means.
	Result *SerialProbed `json:"result,omitempty"`
}

// SerialProbed is what came of a probe.
type SerialProbed struct {
	// Found are explanations, the best first; at most three.
	Found []SerialCandidate `json:"found"`
	// Advice says what to try when none is likely: "… — hint: …".
	Advice []string `json:"advice"`
	// TOML is the block of the configuration that reads it as the best one says; ""
	// if that is not likely.
	TOML string `json:"toml"`
}

// SerialCandidate is one explanation.
type SerialCandidate struct {
	// Title says it in words.
	Title string `json:"title"`
	// Setting is "9600 8N1", Framing "line with nmea", Decoder one that takes the
	// frames.
	Setting string `json:"setting"`
	Framing string `json:"framing"`
	Decoder string `json:"decoder"`
	// Points are up to 100. Likely ones are worth a try.
	Points int  `json:"points"`
	Likely bool `json:"likely"`
	// Evidence is what speaks for it, and against it, in sentences.
	Evidence []string `json:"evidence"`
	// Frame is the beginning of the first frame, Readings what that means.
	Frame    Hex             `json:"frame,omitempty"`
	Readings []SampleReading `json:"readings,omitempty"`
	// TOML is the block of the configuration that reads it.
	TOML string `json:"toml,omitempty"`
}

// SampleReading is what was measured, to be looked at.
type SampleReading struct {
	Device string `json:"device,omitempty"`
	Metric string `json:"metric"`
	Value  any    `json:"value"`
	Unit   string `json:"unit,omitempty"`
	// At is in Unix milliseconds, 0 where nobody has said.
	At int64 `json:"at,omitempty"`
}

// SerialSend asks to write to a device.
type SerialSend struct {
	SerialPlace
	SerialSettings
	// Bytes are in the notation of the configuration: 'T?\r\n' or "hex:01 03".
	Bytes string `json:"bytes"`
	// Listen is for how long to wait for an answer where nobody listens already, in
	// milliseconds; 1,000 by default, 10,000 at the most.
	Listen int `json:"listen_ms,omitempty"`
}

// SerialSent is what became of it.
type SerialSent struct {
	Sent int `json:"sent"`
	// Answer is what came; Watched says that whoever listens sees it instead.
	Answer  Hex  `json:"answer"`
	Watched bool `json:"watched,omitempty"`
}

// Hex is bytes that JSON has as hexadecimal digits.
type Hex []byte

// MarshalText returns the digits.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads digits.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

// mostAsked bounds what a caller may ask for, in bytes of JSON.
const mostAsked = 16 << 10

// asked reads what is asked for, and streams what run tells.
func asked[A, T any](run func(context.Context, A, func(T) error) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask A
		if err := Read(w, r, mostAsked, &ask); err != nil {
			Answer(w, nil, err)
			return
		}
		Stream(w, func(tell func(T) error) error { return run(r.Context(), ask, tell) })
	}
}

// Serial lets a person work at the serial ports.
func Serial(ports SerialPorts, work SerialWork) []dashboard.Route {
	return []dashboard.Route{
		operate("GET /api/v1/serial/ports", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("watch") {
				Stream(w, func(tell func(SerialPortList) error) error { return ports.WatchPorts(r.Context(), tell) })
				return
			}
			all, err := ports.Ports()
			answerUnlessKnown(w, r, SerialPortList{all}, err)
		}),
		operate("GET /api/v1/serial/report", func(w http.ResponseWriter, r *http.Request) {
			port := r.URL.Query().Get("port")
			report, err := ports.Report(port)
			if err != nil {
				Answer(w, nil, err)
				return
			}
			_ = Download(w, path.Base(port)+".json", "application/json", func(w io.Writer) error { // it is small: whoever reads has it, or has gone
				out := json.NewEncoder(w)
				out.SetIndent("", "  ")
				return out.Encode(report)
			})
		}),
		operate("POST /api/v1/serial/listen", asked(work.Listen)),
		operate("POST /api/v1/serial/probe", asked(work.Probe)),
		operate("POST /api/v1/serial/send", func(w http.ResponseWriter, r *http.Request) {
			var ask SerialSend
			if err := Read(w, r, mostAsked, &ask); err != nil {
				Answer(w, nil, err)
				return
			}
			sent, err := work.Send(r.Context(), ask)
			Answer(w, sent, err)
		}),
		operate("POST /api/v1/modbus/scan", asked(work.Scan)),
	}
}

// answerUnlessKnown is Answer with an entity tag: whoever has the value already is
// told so.
func answerUnlessKnown(w http.ResponseWriter, r *http.Request, value any, err error) {
	text, failed := json.Marshal(value)
	if err != nil || failed != nil {
		Answer(w, value, err)
		return
	}
	sum := sha256.Sum256(text)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:9]) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	Answer(w, value, nil)
}
