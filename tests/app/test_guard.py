"""Who may ask, told by Host and Origin."""

import pytest
from werkzeug import Request
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from mmsvf.app.guard import check

JSON = 'application/json'


def ask(method='GET', host='localhost:7860', bound='localhost', path='/state', kind=JSON, **headers):
    names = {name.replace('_', '-'): value for name, value in headers.items()}
    builder = EnvironBuilder(path, f'http://{host}', method=method, headers=names, content_type=kind)
    check(Request(builder.get_environ()), bound)


@pytest.mark.parametrize(
    'host, bound',
    [
        ('localhost:7860', 'localhost'),
        ('127.0.0.1:9999', 'localhost'),  # through a tunnel
        ('[::1]:7860', '127.0.0.1'),
        ('192.168.1.5:7860', '0.0.0.0'),  # an address cannot be pointed elsewhere
        ('lab7:7860', 'lab7'),
        ('localhost', '0.0.0.0'),
    ],
)
def test_own_names_may_ask(host, bound):
    ask(host=host, bound=bound)
    ask('POST', host, bound, Origin=f'http://{host}')
    ask('DELETE', host, bound, Origin=f'https://{host}')


@pytest.mark.parametrize(
    'host, bound',
    [
        ('evil.example:7860', 'localhost'),  # a name of theirs that points here
        ('evil.example', '0.0.0.0'),
        ('localhost.evil.example', 'localhost'),
        ('192.168.1.5:7860', 'localhost'),
        ('', 'localhost'),
        ('[::1', 'localhost'),
    ],
)
def test_other_names_may_not(host, bound):
    environ = EnvironBuilder('/').get_environ()
    environ['HTTP_HOST'] = host
    with pytest.raises(HTTPException, match='not a name of this server'):
        check(Request(environ), bound)


@pytest.mark.parametrize(
    'method, headers, message',
    [
        ('POST', {}, 'only the page itself'),
        ('POST', dict(Origin='null'), 'only the page itself'),
        ('POST', dict(Origin='http://evil.example'), 'only the page itself'),
        ('POST', dict(Origin='http://localhost:8888'), 'only the page itself'),  # another server of this machine
        ('DELETE', dict(Origin='http://evil.example'), 'only the page itself'),
        ('POST', dict(Origin='http://localhost:7860', kind='text/plain'), 'send JSON'),
        ('GET', dict(Sec_Fetch_Site='cross-site'), 'another site'),
    ],
)
def test_other_sites_may_not(method, headers, message):
    with pytest.raises(HTTPException, match=message):
        ask(method, **headers)


def test_a_link_opens_the_page():
    ask(path='/', Sec_Fetch_Site='cross-site')
