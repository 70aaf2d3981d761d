"""Stores each reading once: python3 over_http.py readings.db 8440 TOKEN (behind a proxy with TLS), for an uplink with
url = "https://…/", encoding = "json", ack = "tidegate", and token_file with TOKEN in it."""
import contextlib, gzip, hmac, json, sqlite3, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH, PORT, TOKEN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
TABLE = """CREATE TABLE IF NOT EXISTS reading (gateway, epoch, lane, seq, device, metric, unit, time, value, quality,
    PRIMARY KEY (gateway, epoch, lane, seq))"""

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers["Content-Length"]), 8 << 20))
        if not hmac.compare_digest(self.headers.get("Authorization", ""), "Bearer " + TOKEN):
            return self.answer(401, {"error": "wrong token"})
        try:
            doc = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            head = doc["gateway"], doc["epoch"], doc["lane"]
            rows = [head + (r["seq"], r["device"], r["metric"], r.get("unit"), r["time"], r.get("value", r.get("bytes")), r["quality"])
                    for r in doc["readings"]]
            acked = {"epoch": doc["epoch"], "lane": doc["lane"], "first": doc["first"], "last": doc["last"]}
        except (ValueError, KeyError, TypeError, OSError, EOFError) as e:
            return self.answer(400, {"error": repr(e)})  # for good: the gateway finds the block and sets it aside
        with contextlib.closing(sqlite3.connect(PATH, timeout=30)) as db, db:  # a transaction
            db.executemany("INSERT OR IGNORE INTO reading VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
        self.answer(200, {"acked": acked})

    def answer(self, status, document):
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

sqlite3.connect(PATH).execute(TABLE)
ThreadingHTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
