#!/usr/bin/python3
"""Takes readings from a node of AMQP 1.0 into SQLite, each once: [[uplink.amqp1]] with encoding = "json".

    amqp1.py USER:PASSWORD@HOST:PORT /amq/queue/QUEUE DATABASE        (Debian: python3-qpid-proton)
"""
import json, sqlite3, sys

from proton.handlers import MessagingHandler
from proton.reactor import Container

server, address, database = sys.argv[1:]
db = sqlite3.connect(database)
db.execute("PRAGMA synchronous = FULL")
db.execute("""CREATE TABLE IF NOT EXISTS readings (gateway, epoch, lane, seq, device, metric, time, value,
              PRIMARY KEY (gateway, epoch, lane, seq)) WITHOUT ROWID""")

def rows(text):  # the readings of a message, one or many; none of what no gateway has sent
    try:
        doc = json.loads(text)
        return [(doc["gateway"], doc["epoch"], doc["lane"], r["seq"], r["device"], r["metric"], r["time"],
                 r.get("value", r.get("bytes"))) for r in doc.get("readings", [doc])]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        return print("left out:", repr(e), file=sys.stderr) or []

class Receiver(MessagingHandler):
    def __init__(self):
        super().__init__(prefetch=100, auto_accept=False)

    def on_start(self, event):
        event.container.create_receiver(event.container.connect(server, allowed_mechs="PLAIN", reconnect=False), address)

    def on_message(self, event):
        with db:  # one transaction; what is here already is ignored
            db.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows(bytes(event.message.body)))
        self.accept(event.delivery)
        print(db.execute("SELECT count(*) FROM readings").fetchone()[0], "readings", flush=True)

Container(Receiver()).run()
