#!/usr/bin/python3
"""Takes readings from a stream of NATS JetStream into SQLite, each once: [[uplink.nats]] with encoding = "json".

    NATS_USER=… NATS_PASSWORD=… nats.py HOST:PORT STREAM DATABASE        (Python alone: Debian has no client)
"""
import json, os, socket, sqlite3, sys

server, stream, database = sys.argv[1:]
db = sqlite3.connect(database)
db.executescript("""PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS readings (gateway, epoch, lane, seq, device, metric, time, value,
              PRIMARY KEY (gateway, epoch, lane, seq)) WITHOUT ROWID""")
link = socket.create_connection(server.rsplit(":", 1), timeout=300)
lines = link.makefile("rb")
def say(line, *body):
    link.sendall(line.encode() + b"".join(b" %d\r\n%s" % (len(b), b) for b in body) + b"\r\n")
def next_message():
    """Reply subject and body of the next one; pings are answered on the way."""
    while words := lines.readline().split():
        if words[0] == b"PING":
            say("PONG")
        elif words[0] in (b"MSG", b"HMSG"):
            head = int(words.pop(-2)) if words[0] == b"HMSG" else 0
            return words[3].decode() if len(words) == 5 else "", lines.read(int(words[-1]) + 2)[head:-2]
    sys.exit("the server is gone")  # whoever supervises this starts it again
def rows(text):  # the readings of a message, one or many; none of what no gateway has sent
    try:
        doc = json.loads(text)
        return [(doc["gateway"], doc["epoch"], doc["lane"], r["seq"], r["device"], r["metric"], r["time"], r.get("value", r.get("bytes"))) for r in doc.get("readings", [doc])]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        return print("left out:", repr(e), file=sys.stderr) or []
say("CONNECT " + json.dumps({"verbose": False, "headers": True, "user": os.environ.get("NATS_USER"), "pass": os.environ.get("NATS_PASSWORD")}) + "\r\nSUB _INBOX.readings 1")
say(f"PUB $JS.API.CONSUMER.DURABLE.CREATE.{stream}.readings _INBOX.readings", json.dumps({"stream_name": stream, "config": {
    "durable_name": "readings", "ack_policy": "explicit", "deliver_subject": "_INBOX.readings", "max_ack_pending": 100, "ack_wait": 5 * 10**9}}).encode())
while True:
    reply, body = next_message()
    if reply.startswith("$JS.ACK."):
        with db:  # one transaction; what is here already is ignored
            db.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows(body))
        say(f"PUB {reply}", b"+ACK")
        print(db.execute("SELECT count(*) FROM readings").fetchone()[0], "readings", flush=True)
