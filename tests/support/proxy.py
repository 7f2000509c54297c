"""nginx in front of a registry, with what a test says of it."""

import shutil
import socket
import subprocess
import time

from registry import free_port



class Proxy:
    """Serves a registry at a port of its own until `with` ends. `certificate` is a certificate and its key."""

    def __init__(self, directory, registry_port, settings, certificate=None):
        self.directory, self.port = directory, free_port()
        self.scheme = "https" if certificate else "http"
        self.url = f"{self.scheme}://localhost:{self.port}"
        places = "\n".join(
            f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        tls = f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};" if certificate else ""
        (directory / "nginx.conf").write_text(f"""
            daemon off; worker_processes 1; user root;
            pid {directory}/nginx.pid; error_log {directory}/error.log;
            events {{}}
            http {{
                access_log off;
                {places}
                server {{
                    listen 127.0.0.1:{self.port} {"ssl" if certificate else ""};
                    server_name localhost;
                    {tls}
                    location / {{
                        proxy_pass http://127.0.0.1:{registry_port};
                        {settings}
                    }}
                }}
            }}
        """)

    def __enter__(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        command = [program, "-e", self.directory / "error.log", "-p", self.directory, "-c", self.directory / "nginx.conf"]
        self.process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    raise RuntimeError(f"nginx did not start: {self.process.stderr.read()}") from None
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stderr.close()
