#!/usr/bin/python3
"""Takes readings from a queue of ActiveMQ or RabbitMQ into SQLite, each once: [[uplink.stomp]] with encoding = "json".

    STOMP_USER=… STOMP_PASSWORD=… stomp.py HOST:PORT /queue/NAME DATABASE        (Debian: python3-stomp)
"""
import json, os, queue, sqlite3, sys

sys.path.pop(0)  # where a file is that is called stomp, too: this one
import stomp

server, destination, database = sys.argv[1:]
db = sqlite3.connect(database)
db.execute("PRAGMA synchronous = FULL")
db.execute("""CREATE TABLE IF NOT EXISTS readings (gateway, epoch, lane, seq, device, metric, time, value,
              PRIMARY KEY (gateway, epoch, lane, seq)) WITHOUT ROWID""")
inbox = queue.Queue()  # from the client's thread to this one, which has the database

class Listener(stomp.ConnectionListener):
    def on_message(self, frame):
        inbox.put(frame)
    def on_disconnected(self):
        inbox.put(None)

def rows(text):  # the readings of a message, one or many; none of what no gateway has sent
    try:
        doc = json.loads(text)
        return [(doc["gateway"], doc["epoch"], doc["lane"], r["seq"], r["device"], r["metric"], r["time"],
                 r.get("value", r.get("bytes"))) for r in doc.get("readings", [doc])]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        return print("left out:", repr(e), file=sys.stderr) or []

client = stomp.Connection12([tuple(server.rsplit(":", 1))], vhost="/", heartbeats=(10000, 10000))
client.set_listener("", Listener())
client.connect(os.environ.get("STOMP_USER", ""), os.environ.get("STOMP_PASSWORD", ""), wait=True)
client.subscribe(destination, id="readings", ack="client-individual")
while frame := inbox.get():  # None: the server is gone; whoever supervises this starts it again
    with db:  # one transaction; what is here already is ignored
        db.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows(frame.body))
    client.ack(frame.headers["ack"])
    print(db.execute("SELECT count(*) FROM readings").fetchone()[0], "readings", flush=True)
