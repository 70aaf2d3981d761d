// Command tidebench measures a whole gateway, end to end, against peers in the
// same run:
//
//	tidebench [-cells ingest,drain] [-quick] [-json FILE] [-strict] [-dir DIR]
//
// A machine's mood changes by the minute, so what counts are ratios: peers take
// turns within a round, a ratio is taken round by round, and the median round
// is reported. Every system under test is a process of its own, this program
// started again as "tidebench serve KIND". The load, the link and, where its
// speed is not in question, the cloud are in this process.
//
// The cells are:
//
//	ingest  acknowledged messages a second, against brokers that store less
//	wire    bytes sent for a reading
//	disk    bytes written to the disk for a reading (as root, on a loop device)
//	rss     memory: idle, with a backlog, with a thousand clients
//	idle    a gateway that has nothing to do: wake-ups a second, and memory
//	start   how long a start takes with a gigabyte waiting (as root, cold as well)
//	drain   a million messages over a link that has come back
//	slow    ten thousand over 256 kbit/s and 300 ms
//	e2e     from a publish to the cloud's disk
//	fair    a quiet client beside one that floods
//	doors   what each door takes in, and at what cost
//	idle10k ten thousand connections that say nothing
//	storm5k five thousand devices whose gateway is killed under them
//	sinks   what each door out puts on the line for a reading, beside rivals
//	thin    a backlog and new readings share 64 kbit/s and 600 ms
//	page    what viewers of the live page cost
//	screen  from a publish to the screen of a browser
//
// A figure that misses its bar is printed as such. The exit code is 1 when a
// cell could not be measured, or, with -strict, when a bar was missed; 2 when
// the call is wrong.
package main

import "os"

func main() {
	os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
