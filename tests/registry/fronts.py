"""What stands between a client and a registry: nginx, squid, tinyproxy, and a long line."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from tests.processes import Daemon, answers, free_port, scratch
from tests.registry.real import PASSWORD, USER, Listening, Registries, Registry

PROXY_PASSWORD = "canary-pr0xy"


@dataclass(frozen=True, slots=True)
class Front(Listening):
    """A server in front of a registry, or a proxy.

    Parameters:
        log: its access log, one line a request.
        cert, key: PEM files of the client certificate that it wants, if it wants one.
    """

    log: Path
    cert: Path | None = None
    key: Path | None = None

    def requests(self) -> list[str]:
        """Return the lines of its access log so far."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []


@contextmanager
def nginx(
    registries: Registries,
    upstream: Registry,
    *,
    tls: bool = True,
    client_certificate: bool = False,
    limit_rate: int = 0,
    connections: int = 0,
) -> Iterator[Front]:
    """Run nginx in front of a registry.

    Parameters:
        registries: whose authority signs its certificate, and the client's.
        upstream: the registry behind it, which speaks plain HTTP.
        tls: serve https.
        client_certificate: refuse (400) who does not show a certificate of that authority.
        limit_rate: bytes per second and connection; 0 for as fast as it can.
        connections: answer 429 to what goes beyond so many at once; 0 for no limit.
    """
    folder, port = scratch("nginx"), free_port()
    cert = key = None
    server = [f"listen 127.0.0.1:{port}{' ssl' if tls else ''};"]
    if tls:
        pem = registries.certificate_file
        server += [f"ssl_certificate {pem};", f"ssl_certificate_key {pem};"]
    if client_certificate:
        cert, key = folder / "client.cert", folder / "client.key"
        client = registries.authority.issue_cert(f"{USER}@client.test", common_name=USER)
        client.cert_chain_pems[0].write_to_path(str(cert))
        client.private_key_pem.write_to_path(str(key))
        server += [f"ssl_client_certificate {registries.ca_file};", "ssl_verify_client on;"]
    if connections:
        server += [f"limit_conn all {connections};", "limit_conn_status 429;"]
    config = f"""
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    limit_conn_zone $server_port zone=all:1m;
    server {{
        {" ".join(server)}
        client_max_body_size 0;
        location / {{
            limit_rate {limit_rate};
            proxy_pass {upstream.url};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_buffering on;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""
    file = folder / "nginx.conf"
    file.write_text(config)
    # The log named here is the one in use until the configuration has been read.
    command: list[str | Path] = ["nginx", "-c", file, "-p", folder, "-e", folder / "error.log"]
    with _removed(folder), Daemon(command, folder / "output", lambda: answers(port)):
        yield Front(port, tls, folder / "access.log", cert, key)


@contextmanager
def squid(password: bool = False) -> Iterator[Front]:
    """Run squid as a proxy for everybody, or for `USER` with `PROXY_PASSWORD`."""
    folder, port = scratch("squid"), free_port()
    folder.chmod(0o777)  # it drops its privileges before it opens the logs
    lines = [
        f"http_port 127.0.0.1:{port}",
        "pid_filename none",
        f"access_log stdio:{folder}/access.log",
        f"cache_log {folder}/cache.log",
        f"coredump_dir {folder}",
        "cache deny all",
        "shutdown_lifetime 0 seconds",
        "pinger_enable off",
        "via off",
    ]
    if password:
        users = folder / "users"
        hashed = bcrypt.hashpw(PROXY_PASSWORD.encode(), bcrypt.gensalt(4, b"2a")).decode()
        users.write_text(f"{USER}:{hashed}\n")
        lines += [
            f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}",
            "auth_param basic children 1 startup=1",
            "auth_param basic realm tests",
            "acl known proxy_auth REQUIRED",
            "http_access allow known",
            "http_access deny all",
        ]
    else:
        lines += ["http_access allow localhost", "http_access deny all"]
    file = folder / "squid.conf"
    file.write_text("\n".join(lines) + "\n")
    # A service name of its own keeps its shared memory apart from every other squid's.
    command: list[str | Path] = ["squid", "-N", "-n", f"tests{port}", "-f", file]
    with _removed(folder), Daemon(command, folder / "output", lambda: answers(port)):
        yield Front(port, False, folder / "access.log")


@contextmanager
def tinyproxy(password: bool = False) -> Iterator[Front]:
    """Run tinyproxy as a proxy for everybody, or for `USER` with `PROXY_PASSWORD`."""
    folder, port = scratch("tinyproxy"), free_port()
    log = folder / "log"
    lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 64", "LogLevel Connect"]
    lines += [f'LogFile "{log}"', f'PidFile "{folder}/pid"', "Allow 127.0.0.1"]
    lines += [f"BasicAuth {USER} {PROXY_PASSWORD}"] if password else []
    file = folder / "tinyproxy.conf"
    file.write_text("\n".join(lines) + "\n")
    command: list[str | Path] = ["tinyproxy", "-d", "-c", file]
    with _removed(folder), Daemon(command, folder / "output", lambda: answers(port)):
        yield Front(port, False, log)


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """Relay TCP connections to a port of 127.0.0.1; what comes back comes `seconds` later.

    Yields:
        The port to connect to. Throughput is not limited, only the answers are late.
    """
    ready: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)
        clock = asyncio.get_running_loop().time

        async def forth() -> None:
            while data := await reader.read(1 << 16):
                back_writer.write(data)
                await back_writer.drain()
            back_writer.write_eof()

        async def collect() -> None:
            data = b"-"
            while data:
                data = await back_reader.read(1 << 16)
                await late.put((clock() + seconds, data))

        tasks = [asyncio.ensure_future(forth()), asyncio.ensure_future(collect())]
        try:
            while True:
                when, data = await late.get()
                await asyncio.sleep(when - clock())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has left, which is its right, or the relay ends
        finally:
            for task in tasks:
                task.cancel()
            writer.close()
            back_writer.transport.abort()

    async def serve() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        ready.set_result((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), stop))
        await stop.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    own_port, loop, stop = ready.result(10)
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield


__all__ = ["PASSWORD", "PROXY_PASSWORD", "USER", "Front", "delayed", "nginx", "squid", "tinyproxy"]
