"""`offramp serve`."""

from __future__ import annotations

import signal
import socketserver
from pathlib import Path

import click

from jetson.errors import BadInput
from jetson.listen import on_port, on_socket
from jetson.manifest import Precision
from jetson.metrics import Metrics
from jetson.runtime import Runtime
from jetson.scheduling.induction import Late
from jetson.serve import Service
from toolkit.cli.console import print_json, say
from toolkit.cli.options import BUNDLE, ENGINE, JSON, LATE, PRECISION, THREADS


@click.command("serve")
@BUNDLE
@click.option(
    "--profile",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Of BUNDLE, made here; several, or a folder, one for each power mode; without any no budgets.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this TCP port; 0 for any that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Who may connect: 0.0.0.0 is everybody.")
@click.option("--socket", "place", type=click.Path(path_type=Path), help="Listen on this Unix socket instead.")
@click.option("--policy", default="planner", show_default=True, help="Who decides; offramp simulate names the others.")
@click.option("--miss-rate", type=float, help="Promise at most this share of late answers, e.g. 0.01.")
@click.option("--price-per-ms", default=0.0, show_default=True, help="What a millisecond is worth, in right answers.")
@LATE
@ENGINE
@PRECISION
@THREADS
@JSON
def command(
    bundle: Path,
    profile: tuple[Path, ...],
    port: int | None,
    host: str,
    place: Path | None,
    policy: str,
    miss_rate: float | None,
    price_per_ms: float,
    late: Late,
    engine: str | None,
    precision: Precision | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Answer frames over HTTP, one after another: POST /infer, GET /health, GET /metrics.

    Nobody is asked who they are: listen on loopback or on a socket, whose file this user alone may open.
    """
    if (port is None) == (place is None):
        raise BadInput("give either --port or --socket")
    runtime = Runtime.load(
        bundle,
        profile or None,
        engine=engine,
        threads=threads,
        precision=precision,
        policy=policy,
        miss_rate=miss_rate,
        price_per_ms=price_per_ms,
        late=late,
    )
    service = Service(runtime, Metrics([e.name for e in runtime.bundle.manifest.exits]))
    server: socketserver.BaseServer
    try:
        if place is not None:
            server, where = on_socket(service, place), f"unix:{place}"
        else:
            server = on_port(service, host, port or 0)
            where = f"http://{host}:{server.port}"
    except BaseException:
        runtime.close()
        raise
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    if as_json:
        print_json({"listening": where})
    say(f"listening on {where} (POST /infer, GET /health, GET /metrics); Ctrl-C ends it")
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        say("no longer listening")
    finally:
        server.server_close()
        runtime.close()
