"""A collector of traces: takes what a server sends by OTLP over HTTP, and keeps every byte of it."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SERVER, INTERNAL = 2, 1
ERROR = 2


def value(of):
    return getattr(of, of.WhichOneof("value"))


class Span:
    def __init__(self, span, resource):
        self.name, self.kind, self.status = span.name, span.kind, span.status.code
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.began, self.ended = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = {it.key: value(it.value) for it in span.attributes}
        self.events = list(span.events)
        self.resource = {it.key: value(it.value) for it in resource.attributes}

    def __repr__(self):
        return f"{self.name} {self.trace}/{self.id} below {self.parent or 'nothing'} {self.attributes}"


class Collector:
    """Listens while it is entered. `status` is what it answers."""

    def __init__(self, port=0, status=200):
        self.status, self.spans, self.bodies, self.headers, self.paths = status, [], [], [], []
        self.port = port

    def __enter__(self):
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.bodies.append(body)
                collector.headers.append(self.headers)
                collector.paths.append(self.path)
                if collector.status == 200:
                    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                        for scope in resource_spans.scope_spans:
                            collector.spans.extend(Span(it, resource_spans.resource) for it in scope.spans)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def once(self, what, condition):
        """What `condition` makes of the spans, as soon as that is something."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := condition(list(self.spans)):
                return found
            time.sleep(0.05)
        raise AssertionError(f"never seen: {what}; there are {self.spans}")

    def of(self, trace, *names):
        """The spans of that trace, once all of these names are among them."""
        def whole(spans):
            found = [it for it in spans if it.trace == trace]
            return found if set(names) <= {it.name for it in found} else None
        return self.once(f"{names} in {trace}", whole)
