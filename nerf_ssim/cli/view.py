"""`nerf-ssim view RUN`: a trained or training field in the browser."""

from __future__ import annotations

from collections.abc import Sequence

from nerf_ssim.cli.run_parser import RunParser
from nerf_ssim.config.command_line import number_within
from nerf_ssim.errors import MissingDependency

HOST, PORT = "127.0.0.1", 8080
PATIENCE = 0.5  # seconds between looks at whether the thread that renders lives


def run(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl-C.

    Returns:
        130 or 143 when it is ended by a signal.
    Raises:
        UserError: no such run, no checkpoint yet, viser is not installed, or the port is in use.
    """
    options = _parser().parse_args(argv)
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise MissingDependency("the viewer needs viser: pip install 'nerf_ssim[view]'") from error

    from nerf_ssim.runs.interrupts import ended_by_signals, exit_code_of
    from nerf_ssim.viewer.addresses import free_port, is_loopback
    from nerf_ssim.viewer.page import Page
    from nerf_ssim.viewer.watched import WatchedRun

    port = free_port(options.host, int(options.port))
    watched = WatchedRun(options.run, datadir=options.datadir, checkpoint=options.checkpoint)
    page = Page(watched, options.host, port)
    try:
        with ended_by_signals():
            place = f"[{options.host}]" if ":" in options.host else options.host
            print(f"{options.run}: http://{place}:{port} (Ctrl-C ends it)", flush=True)
            if not is_loopback(options.host):
                print("whoever reaches this machine under that address can look too", flush=True)
            while not page.painter.has_ended(PATIENCE):
                pass
    except KeyboardInterrupt as interrupt:
        return exit_code_of(interrupt)
    finally:
        page.close()
    assert page.painter.failure is not None  # it ends by itself only so
    raise page.painter.failure


def _parser() -> RunParser:
    parser = RunParser("view", "Look at a run's field in the browser, while it trains too.")
    parser.add_argument(
        "--host",
        default=HOST,
        metavar="ADDRESS",
        help=f"where to serve the page (default: {HOST}, which only this machine reaches)",
    )
    parser.add_argument(
        "--port",
        type=number_within(int, 0, 65535),
        default=PORT,
        metavar="N",
        help=f"and under which port (default: {PORT}); 0 takes a free one",
    )
    return parser
