"""Who may ask: pages of this server alone, by a name or address that is this machine's.

Another site that the user's browser has open can send requests here (CSRF, told by ``Origin``), and can have its own
name point here to read the answers, too (DNS rebinding, told by ``Host``).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from werkzeug import Request
from werkzeug.exceptions import Forbidden, UnsupportedMediaType

# what the page may load and do: its own files, the pictures it makes, nothing from elsewhere
HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
}


def is_local(host: str) -> bool:
    """Whether a name or address is this machine for this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def host_is_ours(header: str, bound: str) -> bool:
    """Whether a ``Host`` header can be of somebody who means this server.

    Args:
        header: Such as 'localhost:7860'.
        bound: What the server listens on. On this machine alone, loopback names do; on a network, its addresses, which
            nobody can point elsewhere, and the name that the user gave.
    """
    try:
        name = urlsplit(f'//{header}').hostname or ''
    except ValueError:
        return False
    if is_local(name) or name == bound.lower():
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return not is_local(bound)


def check(request: Request, bound: str) -> None:
    """Refuse what does not come from the page itself.

    Raises:
        Forbidden: another host or origin.
        UnsupportedMediaType: a body that a form of another site could send.
    """
    header = request.headers.get('Host', '')
    if not host_is_ours(header, bound):
        raise Forbidden(f'{header[:100]!r} is not a name of this server; open the address that it printed')
    origin = request.headers.get('Origin')
    if request.method in ('GET', 'HEAD'):
        if request.headers.get('Sec-Fetch-Site') == 'cross-site' and request.path != '/':
            raise Forbidden('another site asks for a part of this page')
        return
    if origin is None or urlsplit(origin).netloc != header:
        raise Forbidden(f'origin {(origin or "none")[:100]!r}: only the page itself may ask for this')
    if request.method == 'POST' and request.mimetype not in ('application/json', 'application/octet-stream'):
        raise UnsupportedMediaType('send JSON, or the bytes of a file')
