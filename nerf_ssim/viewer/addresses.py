"""Where the page is served: checked before anything is loaded."""

from __future__ import annotations

import ipaddress
import socket

from nerf_ssim.errors import ConfigError, explain_os_error

__all__ = ["free_port", "is_loopback"]


def free_port(host: str, port: int) -> int:
    """`port` if it can be had at `host`, or any free one for 0.

    Raises:
        ConfigError: the port is in use or not allowed, or the host is none of this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except socket.gaierror as error:
        raise ConfigError(f"--host {host}: no such address ({error.strerror}); leave it out") from error
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: {explain_os_error(error)}; give another --port, or 0 for a free one"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
