"""Stores each reading once: python3 over_http.py readings.db 8440 TOKEN (behind a proxy with TLS), for an uplink with
url = "https://…/", encoding = "json", ack = "tidegate", and token_file with TOKEN in it."""
import contextlib, hmac, json, sqlite3, sys, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
PATH, PORT, TOKEN, LARGEST = sys.argv[1], int(sys.argv[2]), sys.argv[3], 8 << 20

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(min(length, LARGEST + 1))
        for left in range(length - len(body), 0, -65536):
            self.rfile.read(min(left, 65536))  # passed over, or it would be taken for the next request
        if not hmac.compare_digest(self.headers.get("Authorization", ""), "Bearer " + TOKEN):
            return self.answer(401, {"error": "wrong token"})
        try:
            body = zlib.decompressobj(31).decompress(body, LARGEST + 1) if self.headers.get("Content-Encoding") == "gzip" else body
            if len(body) > LARGEST:
                return self.answer(413, {"error": f"more than {LARGEST} bytes"})  # the gateway makes smaller ones
            doc = json.loads(body)
            rows = [(doc["gateway"], doc["epoch"], doc["lane"], r["seq"], r["device"], r["metric"], r.get("unit"), r["time"],
                     r.get("value", r.get("bytes")), r["quality"]) for r in doc["readings"]]
            acked = {"epoch": doc["epoch"], "lane": doc["lane"], "first": doc["first"], "last": doc["last"]}
        except (ValueError, KeyError, TypeError, zlib.error) as e:
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

sqlite3.connect(PATH).execute("""CREATE TABLE IF NOT EXISTS reading (gateway, epoch, lane, seq, device, metric, unit, time, value,
    quality, PRIMARY KEY (gateway, epoch, lane, seq))""")
ThreadingHTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
