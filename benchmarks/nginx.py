"""An nginx of a benchmark's own, on loopback, and a certificate for it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
_FRAME = """
daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
  uwsgi_temp_path t4; scgi_temp_path t5;
  ssl_certificate cert.pem; ssl_certificate_key key.pem;
  {body}
}}
"""


def missing(*tools: str) -> list[str]:
    """Those of nginx, openssl and `tools` that are not installed."""
    found = ("nginx", "openssl", *tools)
    return [tool for tool in found if not shutil.which(tool, path=PATH)]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def certificate(folder: Path, *addresses: str) -> Path:
    """Make `cert.pem` and `key.pem` for these addresses; the former."""
    names = ",".join(f"IP:{address}" for address in addresses)
    words = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=clips.example -keyout key.pem -out cert.pem "
        f"-addext subjectAltName={names}"
    )
    subprocess.run(words.split(), cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


@contextmanager
def running(
    folder: Path, body: str, port: int, *, core: int | None = None
) -> Iterator[None]:
    """An nginx with this configuration of http, which listens on `port` by then.

    The folder holds its certificate. `core` is the only one that it may use.
    """
    folder.chmod(0o755)  # its workers are nobody's
    (folder / "nginx.conf").write_text(_FRAME.format(body=body))
    program = shutil.which("nginx", path=PATH)
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    if core is not None and (taskset := shutil.which("taskset")):
        command = ["taskset", "-c", str(core), program or "nginx", *command[1:]]
        program = taskset
    with subprocess.Popen(command, executable=program) as nginx:
        try:
            _wait_for(port)
            yield
        finally:
            nginx.terminate()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
