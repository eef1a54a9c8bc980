"""Stands in for the Redis exporter's image: its port, its paths, whether Redis answers. No metrics beyond redis_up."""

import http.server
import os
import signal
import socket
import sys

address = next((word.split("=", 1)[1] for word in sys.argv if word.startswith("--web.listen-address=")), ":9121")

# The first process of a container is deaf to what it does not handle.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def up():
    try:
        with socket.create_connection(("127.0.0.1", 6379), 1) as redis:
            if password := os.environ.get("REDIS_PASSWORD"):
                redis.sendall(f"AUTH {password}\r\n".encode())
                redis.recv(64)
            redis.sendall(b"PING\r\n")
            return redis.recv(64).startswith(b"+PONG")
    except OSError:
        return False


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"redis_up {int(up())}\n".encode() if self.path == "/metrics" else b"ok\n")


http.server.ThreadingHTTPServer(("", int(address.rsplit(":", 1)[1])), Handler).serve_forever()
