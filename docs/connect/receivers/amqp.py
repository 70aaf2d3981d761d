#!/usr/bin/python3
"""Takes readings from a queue of RabbitMQ into SQLite, each once: [[uplink.amqp]] with encoding = "json".

    amqp.py amqp://USER:PASSWORD@HOST:PORT/%2F QUEUE DATABASE        (Debian: python3-pika)
"""
import json, sqlite3, sys

import pika

url, queue, database = sys.argv[1:]
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

channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.queue_declare(queue, durable=True)
channel.basic_qos(prefetch_count=500)
waiting, last = [], None  # what came since the last commit, and how the newest of it is acknowledged
for method, _, body in channel.consume(queue, inactivity_timeout=0.05):
    if method:
        waiting, last = waiting + [body], method.delivery_tag
        if len(waiting) < 250:
            continue
    if waiting:
        with db:  # one transaction; what is here already is ignored
            for body in waiting:
                db.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows(body))
        channel.basic_ack(last, multiple=True)
        waiting = []
        print(db.execute("SELECT count(*) FROM readings").fetchone()[0], "readings", flush=True)
