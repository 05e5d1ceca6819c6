"""The command `iotio`: its options, and their help."""

from __future__ import annotations

from typing import Any

import click

from .. import __version__
from .logs import log_options
from .options import exclude, option

__all__ = ["main", "run"]


_store = click.option(
    "--store", metavar="URL", default="sqlite:///iotio.db", show_default=True, help="The store, as IoTManager has it."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="iotio")
def main() -> None:
    """iot.io connects devices to a Python server.

    \b
    Example: serve the IoTManager of server.py on port 5000.
      iotio run server:manager
    """


@main.command()
@click.argument("target", required=False, envvar="IOTIO_TARGET")
@option("--host", show_default="0.0.0.0", help="Address to listen on; :: for IPv6 and IPv4.")
@option("--port", show_default="5000", type=click.IntRange(0, 65535), help="Port; 0 finds a free one.")
@option("--uds", metavar="PATH", help="Listen on a Unix socket instead of host and port.")
@option("--ssl-certfile", metavar="FILE", help="Serve by TLS with this certificate (PEM, with its chain).")
@option("--ssl-keyfile", metavar="FILE", help="Its private key, if it is in a file of its own.")
@option("--threads", default=32, show_default=True, type=click.IntRange(1), help="Threads for `def` handlers, at most.")
@click.option("--workers", hidden=True, type=click.IntRange(1), help="The old name of --threads.")
@option(
    "--view-threads",
    type=click.IntRange(1),
    help="Threads for the views of a Flask application, at most.  [default: 32]",
)
@option(
    "--slow-handler",
    metavar="SECONDS",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Name a handler in the log that runs longer; 0 for never.",
)
@option("--request-context", is_flag=True, help="Give handlers `flask.request` of their device's upgrade.")
@option("--reload", is_flag=True, help="Restart when a .py file below the current folder changes.")
@log_options
@click.pass_context
def run(context: click.Context, /, target: str | None, reload: bool, workers: int | None, **options: Any) -> None:
    """Serve an IoTManager and its application on one port, until Ctrl-C.

    TARGET is module:attribute or path/to/file.py:attribute. The attribute is an IoTManager, an application that has
    one, or a function that returns either; without it, `manager`, `app`, the only IoTManager of the module or what
    `create_app()` returns is taken. Without TARGET it is app.py, server.py or main.py. The current folder is searched
    first. The module's __name__ is not "__main__": a block `if __name__ == "__main__":` does not run, and a server that
    the program starts while it is imported is left out.

    Each option can be set by an environment variable: IOTIO_PORT for --port, IOTIO_LOG_LEVEL for --log-level. The
    command line goes before.

    A program of iot.io 0.4 that ends in eventlet.wsgi.server(eventlet.listen(...), app) is served as well, without
    eventlet and at that address, if the command line names no other.

    \b
    Examples:
      iotio run server:manager
      iotio run server.py --port 8000 --reload
      iotio run shop.devices:app --ssl-certfile cert.pem --ssl-keyfile key.pem
    """
    from .launch import run_target
    from .settings import Settings
    from .target import usual_file

    _check(context, options)
    if workers is not None:
        click.echo("--workers has the name --threads now", err=True)
        options["threads"] = workers
    run_target(Settings(target=target or usual_file(), **options), reload=reload)


@main.command()
@click.argument("target", type=click.Path())
@_store
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def backup(target: str, store: str, force: bool) -> None:
    """Copy a store to the file TARGET, also while a server uses it.

    The copy is of one moment, and appears under its name when it is complete. To go back to it, stop the server and put
    it in the place of the store.

    \b
    Example: keep one for each day of the week.
      iotio backup --store sqlite:////var/lib/iotio.db --force /backup/iotio-$(date +%a).db
    """
    from .backup import run_backup

    run_backup(store, target, force=force)


@main.command()
@click.argument("target", type=click.Path())
@_store
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def export(target: str, store: str, force: bool) -> None:
    """Write what a store holds to the file TARGET, also while a server uses it.

    The file has lines of JSON, compressed by gzip. It is of one moment, and appears under its name when it is complete.
    `iotio import` makes a store of it, of any kind.

    \b
    Example: move from SQLite to PostgreSQL, with the server stopped.
      iotio export --store sqlite:///iotio.db iotio.jsonl.gz
      iotio import iotio.jsonl.gz --store postgresql://iotio@localhost/iotio
    """
    from .export import run_export

    run_export(store, target, force=force)


@main.command("import")
@click.argument("source", type=click.Path())
@_store
def import_(source: str, store: str) -> None:
    """Make a store of the file SOURCE, which `iotio export` has written: all of it, or nothing.

    A store that a server uses, or that holds something already, is refused.
    """
    from .export import run_import

    run_import(source, store)


@main.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a project that runs to the new folder NAME: a server, a device, a web page, a test and a systemd unit.

    NAME is the name of the project: small letters, digits, - and _. It is "." for the current folder and its name. A
    folder that exists must be empty, but for a virtual environment and hidden files. No file is replaced.

    \b
    Example: a project, and its server.
      iotio new greenhouse
      cd greenhouse
      iotio run server.py
    """
    from .new import write_project

    write_project(name)


def _check(context: click.Context, options: dict[str, Any]) -> None:
    """Refuse options that contradict each other."""
    from .target import Misuse

    exclude(context, options, "uds", "host", "port")
    exclude(context, options, "log_config", "log_level", "log_format")
    if options["ssl_keyfile"] and not options["ssl_certfile"]:
        raise Misuse("--ssl-keyfile needs --ssl-certfile, the certificate that the key is of")
