package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/serialport"
)

// workbench is where a person works at the serial ports of this machine: from the
// page, or with the program's commands. There is one task at a port, and there are
// few in all; each ends when nobody waits for it any more.
type workbench struct {
	host serialport.Host
	here surroundings
	// anything lets any path be opened. Somebody at the page must not open what only
	// looks like a port: opening a watchdog starts it.
	anything bool

	looks atomic.Uint64 // through doors, ever

	mu     sync.Mutex
	tasks  map[string]*benchTask // by the device, or the address
	rests  map[string]*rest      // by the door
	known  []*portFile           // the last one that was worked at is the last
	sample map[string]*sampling  // by the door
}

// surroundings are what a workbench knows of the gateway that it is in.
type surroundings interface {
	// settings are the configuration.
	settings() Config
	// line is the door at a serial line, nil if none of that name runs.
	line(door string) *serialin.Source
	// runs says whether a door of that name runs.
	runs(door string) bool
	// gatewayID names the gateway.
	gatewayID() string
}

func newWorkbench(host serialport.Host, here surroundings) *workbench {
	return &workbench{
		host: host, here: here,
		tasks: make(map[string]*benchTask), rests: make(map[string]*rest), sample: make(map[string]*sampling),
	}
}

// maxTasks is how much may be done at once: each has a port and somebody who looks.
const maxTasks = 4

// benchTask is something that is done at a port.
type benchTask struct {
	what  string
	since time.Time
	stop  context.CancelCauseFunc
	ended chan struct{}
	write func([]byte) (int, error) // guarded by the workbench; nil if nobody may
}

// errTaken ends a task whose port somebody else has taken over.
var errTaken = errors.New("somebody else has taken the port over")

// errEnded is what a caller is told who has gone.
var errEnded = errors.New("ended")

// takeTime bounds how long a task, or a door, may take to let go.
const takeTime = 10 * time.Second

// take makes room for a task at a device. done must be called when it has ended.
func (w *workbench) take(ctx context.Context, device, what string, place api.SerialPlace) (_ context.Context, task *benchTask, done func(), err error) {
	if place.TakeOver {
		w.expel(ctx, device)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tasks[device]; t != nil {
		return nil, nil, nil, fmt.Errorf("somebody is %s at this port since %s — hint: wait until they have ended, or take it over", t.what, t.since.Format("15:04:05"))
	}
	if len(w.tasks) >= maxTasks {
		return nil, nil, nil, fmt.Errorf("%d ports are worked at already — hint: end one of these tasks first", len(w.tasks))
	}
	ctx, stop := context.WithCancelCause(ctx)
	task = &benchTask{what: what, since: time.Now(), stop: stop, ended: make(chan struct{})}
	w.tasks[device] = task
	return ctx, task, sync.OnceFunc(func() {
		stop(errEnded)
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.tasks, device)
		close(task.ended)
	}), nil
}

// expel ends what is done at a device.
func (w *workbench) expel(ctx context.Context, device string) {
	w.mu.Lock()
	t := w.tasks[device]
	w.mu.Unlock()
	if t == nil {
		return
	}
	t.stop(errTaken)
	late := time.NewTimer(takeTime)
	defer late.Stop()
	select {
	case <-t.ended:
	case <-ctx.Done():
	case <-late.C:
	}
}

// ending is the error that a task ends with.
func ending(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTaken) {
		return cause
	}
	if errors.Is(err, serialport.ErrGone) {
		return fmt.Errorf("%w — hint: plug it in again, and look for it among the ports", err)
	}
	return err
}

// workplace is a port that is worked at.
type workplace struct {
	info api.SerialPort
	// config is how to open it.
	config serialport.Config
	// kind is that of the door, "" if there is none: serial or modbus.
	kind string
}

// portDoor is a door at a port of this machine.
type portDoor struct {
	name, kind string
	port       serialport.Config
}

// portDoors returns the doors at ports of this machine.
func (c Config) portDoors() (all []portDoor) {
	for _, s := range c.Ingest.Serial {
		all = append(all, portDoor{s.doorName(), "serial", s.port()})
	}
	for _, m := range c.Ingest.Modbus {
		if l := m.line(); l.Port != "" {
			all = append(all, portDoor{m.doorName(), "modbus", l.port()})
		}
	}
	return all
}

// find returns the port that is meant, with the settings that are asked for, those
// of its door, or else the usual ones.
func (w *workbench) find(place api.SerialPlace, settings api.SerialSettings) (workplace, error) {
	name := place.Port
	doors := w.here.settings().portDoors()
	if place.Door != "" {
		for _, d := range doors {
			if d.name == place.Door {
				name = d.port.Path
			}
		}
		if name == "" || place.Port != "" {
			return workplace{}, api.NotFound(fmt.Errorf("%q is no door at a serial port — hint: \"tidegate ports\" lists the ports, and their doors", place.Door))
		}
	}
	if name == "" {
		return workplace{}, api.Invalid(errors.New("which port? — hint: \"tidegate ports\" lists them"))
	}
	info, err := w.portOf(name)
	if err != nil {
		return workplace{}, err
	}
	s := workplace{info: info, config: serialport.Config{Path: name, Host: w.host}}
	for _, d := range doors {
		if d.name == info.Door {
			s.kind, s.config = d.kind, d.port
			s.config.Host = w.host
		}
	}
	if settings, err = apart(settings); err != nil {
		return workplace{}, api.Invalid(err)
	}
	s.config.Baud = cmp.Or(settings.Baud, s.config.Baud)
	if settings.Format != "" {
		if s.config.DataBits, s.config.Parity, s.config.StopBits, err = parseFormat(settings.Format); err != nil {
			return workplace{}, api.Invalid(err)
		}
	}
	if err := s.config.Check(); err != nil {
		return workplace{}, api.Invalid(err)
	}
	return s, nil
}

// apart takes settings apart that are given as one word, "9600 8N1".
func apart(s api.SerialSettings) (api.SerialSettings, error) {
	if s.Settings == "" {
		return s, nil
	}
	baud, format, _ := strings.Cut(s.Settings, " ")
	n, err := strconv.Atoi(baud)
	if err != nil || s.Baud != 0 || s.Format != "" {
		return s, fmt.Errorf("settings %q — hint: write them in one as \"9600 8N1\", or baud and format", s.Settings)
	}
	return api.SerialSettings{Baud: n, Format: format}, nil
}

// portOf returns the port that has the name.
func (w *workbench) portOf(name string) (api.SerialPort, error) {
	place, err := w.host.Resolve(name)
	if err != nil {
		return api.SerialPort{}, api.NotFound(err)
	}
	all, err := w.Ports()
	for _, p := range all {
		if p.Device != place.Device {
			continue
		}
		if p.Console {
			return p, fmt.Errorf("%s is the kernel's console — hint: take console=%s out of the kernel's command line first", name, strings.TrimPrefix(p.Device, "/dev/"))
		}
		return p, nil
	}
	if !w.anything {
		return api.SerialPort{}, api.NotFound(errors.Join(fmt.Errorf("%q is no serial port of this machine — hint: \"tidegate ports\" lists them", name), err))
	}
	info := serialport.Info{Device: place.Device}
	return api.SerialPort{Info: info, Configure: name, Door: w.doorAt(place.Device)}, nil
}

// alone has a port for one task, and ends with it. A door that has the port rests
// meanwhile, if that is asked for.
func (w *workbench) alone(ctx context.Context, s workplace, what string, place api.SerialPlace) (_ context.Context, task *benchTask, end func(), err error) {
	door := s.info.Door
	busy := door != "" && w.here.runs(door)
	if busy && !place.Pause {
		return nil, nil, nil, fmt.Errorf("%s reads this port, and %s would get in its way — hint: let the door pause meanwhile", door, what)
	}
	ctx, task, done, err := w.take(ctx, s.info.Device, what, place)
	if err != nil || !busy {
		return ctx, task, done, err
	}
	release, err := w.restOf(door).hold(ctx)
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return ctx, task, func() { release(); done() }, nil
}
