package docs_test

// prepared says, by page, what its commands find when they are run.
var prepared = map[string]preparation{
	"README.md": {
		cloud:   true,
		files:   map[string]string{"/run/credentials/tidegate_cloud.token": "0123456789abcdef0123456789abcdef\n"},
		replace: []string{"https://cloud.example/v1/ingest", "http://127.0.0.1:{8440}/v1/ingest"},
		after: `mosquitto_pub -p {1883} -q 1 -t alarms/press-1/overheat -m true
until tidegate-cloud export -url http://127.0.0.1:8440 | grep overheat; do sleep 0.1; done`,
		needs:  []string{"mosquitto_pub"},
		stored: []string{"alarm * press-1 overheat true"},
	},
	"docs/start/first-readings.md": {
		needs:   []string{"mosquitto_pub"},
		inOrder: true,
		stored:  []string{"plant/press-1 temp 21.5"},
	},
	"docs/start/first-uplink.md": {
		idle:  true,
		needs: []string{"mosquitto_pub", "openssl"},
		steps: map[string]string{"$ tidegate check": "mkdir -p /run/credentials\ncp cloud.token /run/credentials/tidegate_cloud.token\n@start",
			"$ tidegate-cloud export -url http://127.0.0.1:8440": "until tidegate-cloud export -url http://127.0.0.1:8440 | grep temp; do sleep 0.1; done"},
		stored: []string{"plant/press-1 temp 21.5"},
	},
	"docs/operate/troubleshooting.md": {
		more: `[[ingest.serial]]
name = "boiler"
port = "/dev/ttyUSB7"
[[uplink.http]]
name = "cloud"
url = "http://127.0.0.1:9/v1/ingest"
[[uplink.file]]
name = "stick"
dir = "/media/stick"
`,
		needs: []string{"mosquitto_pub"},
		before: `mosquitto_pub -p {1883} -q 1 -t boiler/temp -m 21.5
until tidegate status | grep 'cloud is down' && tidegate trace boiler temp | grep acknowledged; do sleep 0.1; done`,
		steps: map[string]string{"$ tidegate buffer peek -metric raw -n 1": "mosquitto_pub -p {1883} -q 1 -t field/node-7 -m T=21,5"},
	},
	"docs/operate/backup.md": {
		inOrder: true, apart: true, // the configuration of the page is for a card in a reader
		more:   "[[uplink.http]]\nname = \"cloud\"\nurl = \"http://127.0.0.1:9/v1/ingest\"\n",
		needs:  []string{"mosquitto_pub"},
		before: `mosquitto_pub -p {1883} -q 1 -t boiler -m '{"temp":21.5,"on":true}'`,
		steps:  map[string]string{"$ tidegate buffer check": "@stop\nmkdir -p /media/card/var/lib\ncp -a /var/lib/tidegate /media/card/var/lib/"},
	},
	"docs/operate/provisioning.md": {
		idle:    true,
		replace: []string{"id=$(openssl rand -hex 16)", "id=c0ffee00112233445566778899aabbcc"}, // the name of this one is held by TestTheNameIsWhatSystemdMakesOfTheMachinesID
		needs:   []string{"openssl", "xxd"},
		after:   `test "$name" = farm-tg-8e8e63939c75; grep -q "$(grep '^"cloud.token"' farm-south.toml | cut -d '"' -f 4)" tokens.txt; test $(stat -c %a tokens.txt) = 600`,
	},
	"docs/operate/monitoring.md": {
		cloud: true,
		more:  "[[uplink.http]]\nname = \"cloud\"\nurl = \"http://127.0.0.1:9/v1/ingest\"\n[[uplink.http]]\nname = \"other\"\nurl = \"http://127.0.0.1:8440/v1/ingest\"\n",
		needs: []string{"mosquitto_pub", "curl"},
		before: `mosquitto_pub -p {1883} -q 1 -t boiler -m '{"temp":21.5,"on":true}'
until tidegate-cloud ledger -url http://127.0.0.1:8440 | grep north-7; do sleep 0.1; done`,
	},
	"docs/connect/http.md": {
		files:  map[string]string{"/run/credentials/tidegate_http.tokens": "pump-7 2b7e151628aed2a6abf7158809cf4f3c\n"},
		env:    []string{"TOKEN=2b7e151628aed2a6abf7158809cf4f3c"},
		needs:  []string{"curl"},
		stored: []string{"kitchen/stove temp 21.5", "kitchen/stove hum 40"},
	},
	"docs/connect/coap.md": {
		// The file has the key in hexadecimal, the client takes it as text.
		files:  map[string]string{"/run/credentials/tidegate_coap.keys": "boiler:7369787465656e636861726163746572732e\n", "frame.bin": "0123456789"},
		env:    []string{"KEY=sixteencharacters."},
		needs:  []string{"coap-client-notls", "coap-client-openssl"},
		stored: []string{"kitchen/stove temp 21.5", "boiler temp 64", "camera/1 raw *"},
	},
	"docs/connect/line.md": {
		needs:  []string{"nc", "logger"},
		after:  `printf '$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n' | nc -u -q 0 127.0.0.1 {10110}`,
		stored: []string{"meter/127.0.0.1 temp 21.5", "bulk * 127.0.0.1 raw *", "ship * *"},
	},
	"docs/connect/serial.md": {
		// The page shows several ways to frame; the line of its first is one of text.
		replace: []string{"[ingest.serial.framing]\nkind = \"stx-etx\"\nchecksum = \"xor8\"\nchecksum_after_end = true\n", ""},
		world: []string{"firmware-sim serial -link /dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0 -rate 20",
			"firmware-sim serial -link /dev/ttyUSB0 -rate 20 -encoding nmea"},
		stored: []string{"boiler temp *"},
	},
	"docs/connect/modbus.md": {
		world: []string{"firmware-sim modbus -link /dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0 -baud 9600 -n 3",
			"firmware-sim modbus -link /dev/ttyUSB0 -baud 9600 -n 3"},
		replace: []string{"-units 1-32", "-units 1-4", `interval = "5s"`, `interval = "1s"`},
		stored:  []string{"flat-1/meter voltage * V", "flat-3/meter up true"},
	},
	"docs/connect/mqtt.md": {
		files:   map[string]string{"/etc/tidegate/passwords": ""},
		replace: []string{"tls_cert = \"/etc/tidegate/cert.pem\"\n", "", "tls_key = \"/etc/tidegate/key.pem\"\n", ""},
		needs:   []string{"mosquitto_pub"},
		after: `printf 'a passphrase' | tidegate passwd boiler
until mosquitto_pub -p {8883} -u boiler -P 'a passphrase' -q 1 -t dev/boiler/temp -m 64.5; do sleep 0.1; done`,
		stored: []string{"dev/boiler temp 64.5"},
	},
	"docs/connect/host.md": {
		replace: []string{"keep = false", "keep = true", `every = "10s"`, `every = "1s"`},
		stored:  []string{"bulk * gateway * *"},
	},
	"docs/connect/dialects.md": {
		needs:  []string{"mosquitto_pub"},
		before: `mosquitto_pub -p {1883} -q 1 -t tele/kitchen/SENSOR -m '{"Time":"2026-01-01T12:00:00","DS18B20":{"Temperature":21.5},"TempUnit":"C"}'`,
		stored: []string{"kitchen DS18B20.Temperature 21.5 Cel"},
	},
	"docs/connect/devices.md": {
		idle:    true,
		files:   map[string]string{"payload.txt": "S S     100.02 g\r\n", "capture.bin": "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"},
		replace: []string{"-config tidegate.toml ", ""},
	},
	"docs/connect/commands.md": {
		cloud:   true,
		files:   map[string]string{"/run/credentials/tidegate_command.keys": "0123456789abcdef0123456789abcdef\n", "/run/credentials/tidegate_broker.password": "x\n"},
		replace: []string{"-h broker.example", "-p {1884}", "redis-cli", "redis-cli -p {6379}"},
		world:   []string{"mosquitto -v -p {1884}", "redis-server --port {6379}"},
		needs:   []string{"mosquitto", "mosquitto_pub", "redis-cli", "redis-server"},
	},
	"docs/connect/file-uplink.md": {
		replace: []string{"require_mount = true\n", "max_age = \"1s\"\n", "max_age = \"1d\"", "max_age = \"1s\""},
		needs:   []string{"mosquitto_pub"},
		before: `mosquitto_pub -p {1883} -q 1 -t hall/boiler -m '{"temp":21.5}'
until ls /media/usb/stick-*.chunks /srv/readings/archive-*.zst 2>/dev/null; do sleep 0.1; done`,
		stored: []string{"hall/boiler temp 21.5"},
	},
	"docs/operate/configuring.md": {
		steps: map[string]string{"tidegate reload                      # the file was edited: read it again": `cp /etc/tidegate/tidegate.toml new.toml
printf '[[ingest.line]]\nname = "new"\nlisten = "127.0.0.1:0"\n' >>new.toml`},
	},
	"docs/operate/support.md": {
		more:   "[[uplink.http]]\nname = \"cloud\"\nurl = \"http://127.0.0.1:9/v1/ingest\"\n",
		before: `mosquitto_pub -p {1883} -q 1 -t boiler/temp -m 21.5`,
		needs:  []string{"mosquitto_pub"},
	},
	"docs/operate/buffer.md": {
		more:    shelf,
		refuses: true,
		files:   map[string]string{"tokens.txt": "north-7 0123456789abcdef0123456789abcdef\n", "many.json": samples(300, 0)},
		needs:   []string{"mosquitto_pub"},
		before: `mosquitto_pub -p {1883} -q 1 -t plant/press-1/motor -f many.json
mosquitto_pub -p {1883} -q 1 -t plant/press-1 -m '{"motor":{"current":3.86},"state":"running"}'
for n in 1 2 3; do mosquitto_pub -p {1883} -q 1 -t raw/modem -m '{"signal":-71,"operator":"26201 A"}'; done
mosquitto_pub -p {1883} -q 1 -t alarms/boiler-3/overheat -m false
mosquitto_pub -p {1883} -q 1 -t alarms/boiler-3/overheat -m true`,
		steps: map[string]string{
			"$ tidegate buffer ls":         "@stop\ntidegate buffer purge -sink cloud -lane bulk -yes",
			"$ tidegate trace boiler temp": "@start\nmosquitto_pub -p {1883} -q 1 -t boiler -m '{\"temp\":21.5,\"on\":true}'\nuntil tidegate trace boiler temp | grep acknowledged && tidegate quarantine ls | grep conflict; do sleep 0.1; done",
			"$ tidegate-cloud import -data /var/lib/tidegate-cloud north-7.chunks":                 "cp /media/stick/north-7.chunks .",
			"$ tidegate-cloud import -url http://127.0.0.1:8440 -tokens tokens.txt north-7.chunks": "& tidegate-cloud run -data /var/lib/tidegate-other -listen 127.0.0.1:8440 -tokens tokens.txt",
			"$ tidegate-cloud import -data /var/lib/tidegate-cloud half.chunks":                    "head -c 90 north-7.chunks >half.chunks",
			"$ tidegate buffer purge -lane alarm":                                                  "@stop",
		},
	},
	"docs/reference/api.md": {
		more:    shelf + "[ingest.host]\nevery = \"0s\"\n",
		refuses: true,
		files:   map[string]string{"many.json": samples(300, 120)},
		needs:   []string{"mosquitto_pub", "curl"},
		before: `mosquitto_pub -p {1883} -q 1 -t boiler-3 -f many.json
mosquitto_pub -p {1883} -q 1 -t boiler -m '{"temp":21.5,"on":true}'
until tidegate trace boiler temp | grep acknowledged && tidegate quarantine ls | grep conflict; do sleep 0.1; done`,
		steps: map[string]string{
			"$ curl 'http://10.0.0.1:8080/api/v1/history?device=boiler-3&metric=temp&unit=Cel&from=1788217200000&points=100'":                          "@stop\ntidegate buffer purge -sink cloud -lane normal -yes\n@start",
			`{"device": "boiler", "metric": "temp", "unit": "Cel", "value": 21.5, "epoch": "9beea3f2f76cfde3", "lane": "normal", "seq": 4711,`:         "mosquitto_pub -p {1883} -q 1 -t boiler-3 -m '{\"temp\":21.5}'\nmosquitto_pub -p {1883} -q 1 -t boiler -m '{\"temp\":21.5,\"on\":true}'\nuntil tidegate trace boiler temp | grep acknowledged; do sleep 0.1; done",
			`{"path":"/etc/tidegate/tidegate.toml","text":"[gateway]\nid = …","revision":"8bb15ce118b5","trial":{"left":103.2,"kept":"[gateway]\n…"}}`: "cp /etc/tidegate/tidegate.toml new.toml; printf '[[ingest.line]]\\nname = \"new\"\\nlisten = \"127.0.0.1:0\"\\n' >>new.toml; tidegate apply new.toml",
		},
	},
	"docs/reference/firmware-sim.md": {
		more: `[ingest.http]
listen = "127.0.0.1:8081"
[[ingest.http.route]]
topic = "site/{site}/dev/{device}/telemetry"
[ingest.coap]
listen = "127.0.0.1:5683"
[[ingest.line]]
name = "kv"
listen = "127.0.0.1:4000"
decode = "keyvalue"
reply = 'OK\n'
[[ingest.line]]
name = "cobs"
transport = "udp"
listen = "127.0.0.1:4001"
decode = "record"
framing = { kind = "cobs", checksum = "crc16-ccitt" }
[[uplink.http]]
name = "cloud"
url = "http://127.0.0.1:8440/v1/ingest"
`,
		cloud:   true,
		replace: []string{"firmware-sim audit", `arrived() { until firmware-sim audit "$@"; do sleep 0.1; done; }; arrived`, "-count 10000", "-count 1000"}, // what was acknowledged is on flash, and in the cloud a moment later
		stored:  []string{"tty-0000 temp * Cel"},
	},
	"docs/reference/refine.md": {
		files: map[string]string{"payloads.txt": "{\"t_inlet\":215,\"t_outlet\":198}\n{\"t_inlet\":218,\"t_outlet\":251}\n", "payload.json": "{\"t_inlet\":215}",
			"x.json": "{\"t_inlet\":215}", "log.ndjson": "{\"t_inlet\":215}\n{\"t_inlet\":218}\n"},
	},
}

// shelf is a gateway whose uplinks are of every kind of luck: one brings readings
// out, one is down, one is refused.
const shelf = `
[[ingest.mqtt.route]]
topic = "raw/{device}"
decode = "raw"
lane = "bulk"
[[ingest.mqtt.route]]
topic = "alarms/{device}/{metric}"
lane = "alarm"
[[ingest.mqtt.route]]
topic = "#"
device = "{topic}"
refine = ["units"]
[[refine]]
name = "units"
metric = "temp"
unit = "Cel"
[[uplink.file]]
name = "stick"
dir = "/media/stick"
[[uplink.http]]
name = "cloud"
url = "http://127.0.0.1:9/v1/ingest"
[[uplink.http]]
name = "influx"
url = "http://127.0.0.1:8086/write"
encoding = "line"
`
