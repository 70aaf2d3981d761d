package firmwaresim

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const modbusUsage = `
Answers Modbus masters as a number of slaves, over TCP, over RTU on a pseudo
terminal, or both. Each slave has these registers, holding and input alike, and
nothing beyond:

   0  u32 the counter seq    2  i16 temperature, 0.01 Cel   3  u16 humidity, 0.1 %RH
   4  u16 battery, 0.01 V    5  i16 signal, dBm             6  f32 temperature, Cel
   8  i32 pressure, Pa      10  f32 humidity, %RH          12  u32 seconds since 1970
  14  u16 the unit          15  u16 light, lx

Coil and discrete input 0 say that the door is open, 1 that there is light. A
request that reads the counter takes a sample, and the ledger has it. What can go
wrong, as often as -faults says:

  slow 10%x300ms, late 5%x2s, corrupt 1%, exception 2%, wrongunit 1%, stuck 10%,
  dead 3
  noise 1%, echo                    on serial lines only

Examples:
  firmware-sim modbus -listen 127.0.0.1:1502 -n 10 -faults "dead 3, slow 10%x300ms"
  firmware-sim modbus -listen 127.0.0.1:4001 -rtu -order cdab
  firmware-sim modbus -link /tmp/ttyBUS -baud 19200 -n 3 -ledger sent.ledger`

// modbusOptions are the flags of the command modbus.
type modbusOptions struct {
	config ModbusConfig
	length time.Duration
	ledger string
}

func parseModbusFlags(args []string, to console) (modbusOptions, error) {
	var o modbusOptions
	c := &o.config
	flags := newFlags("modbus", modbusUsage, to)
	flags.StringVar(&c.Listen, "listen", "", "`host:port` for masters over TCP; port 0: any free one")
	flags.BoolVar(&c.RTUOverTCP, "rtu", false, "speak RTU there, as a serial device server does")
	flags.StringVar(&c.Link, "link", "", "`path` of the port where RTU is spoken")
	flags.IntVar(&c.Baud, "baud", 9600, "`speed` of that port, up to 921600")
	flags.IntVar(&c.Units, "n", 1, "`number` of slaves")
	flags.IntVar(&c.First, "unit", 1, "`unit` of the first slave")
	flags.StringVar((*string)(&c.Order), "order", string(ABCD), fmt.Sprint("how 32 bits lie in registers, one of ", WordOrders()))
	flags.DurationVar(&c.Every, "every", 0, "time between samples; 0: one whenever the counter is read")
	flags.TextVar(&c.Faults, "faults", SlaveFaults{}, "what goes wrong")
	flags.StringVar(&c.Prefix, "prefix", "mb-", "how the slaves' names in the ledger begin")
	flags.Uint64Var(&c.Seed, "seed", 1, "the same seed makes the same values and faults")
	flags.DurationVar(&o.length, "for", 0, "`duration`, such as 30s; 0: no end")
	flags.StringVar(&o.ledger, "ledger", "", "new `file` for what was sampled")
	if err := parseFlags(flags, args); err != nil {
		return o, err
	}
	if c.Listen == "" && c.Link == "" {
		return o, usageError{errors.New("-listen or -link is needed — hint: firmware-sim help modbus")}
	}
	if err := c.withDefaults().check(); err != nil {
		return o, usageError{err}
	}
	return o, nil
}

func runModbus(ctx context.Context, args []string, to console) error {
	o, err := parseModbusFlags(args, to)
	if err != nil {
		return err
	}
	ledger, err := createLedger(o.ledger)
	if err != nil {
		return err
	}
	defer ledger.close()
	slaves, err := OpenModbusSlaves(o.config, ledger)
	if err != nil {
		return err
	}
	show := newDisplay(to.out)
	if addr := slaves.Addr(); addr != "" {
		show.say("%d slaves from unit %d on answer at %s", o.config.Units, o.config.First, addr)
	}
	if slaves.port != nil {
		show.say("%s is %s, with %d slaves from unit %d on", o.config.Link, slaves.port.name, o.config.Units, o.config.First)
	}
	ctx, cancel := forSoLong(ctx, o.length)
	defer cancel()
	err = slaves.Run(ctx)
	show.say("%s", slaves.Stats())
	return err
}

// String is the line that remains of a bus.
func (s ModbusStats) String() string {
	line := fmt.Sprintf("%s requests, %s answers, %s samples", thousands(s.Requests), thousands(s.Answers), thousands(s.Samples))
	for _, n := range []struct {
		count uint64
		what  string
	}{
		{s.Exceptions, "exceptions"}, {s.Silent, "to dead units"}, {s.Slow, "slow"}, {s.Late, "late"},
		{s.Corrupted, "damaged"}, {s.Misnamed, "from a wrong unit"}, {s.Noisy, "with noise"},
	} {
		if n.count > 0 {
			line += fmt.Sprintf(", %s %s", thousands(n.count), n.what)
		}
	}
	return line
}
