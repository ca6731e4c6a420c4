"""The page's server: a WSGI application of a few routes, on Werkzeug, which also serves TensorBoard."""

from __future__ import annotations

import json
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from werkzeug import Request, Response
from werkzeug.exceptions import BadRequest, Conflict, HTTPException, NotFound, RequestEntityTooLarge
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.utils import send_file

from mmsvf.body import PARENTS, SMPL_METAINFO
from mmsvf.version import __version__

from .demos import DemoModel
from .guard import HEADERS, check
from .inside import Inside
from .runs import BusyError, Limits, Run, Runs
from .samples import Sample
from .uploads import save_upload, shown_name

PAGE = Path(__file__).parent / 'page'
TYPES = {
    '.html': 'text/html',
    '.css': 'text/css',
    '.js': 'text/javascript',
    '.mp4': 'video/mp4',
    '.png': 'image/png',
    '.jsonl': 'application/x-ndjson',
    '.npz': 'application/octet-stream',
}
LONGEST_QUESTION = 10_000  # bytes
URLS = Map(
    [
        Rule('/', endpoint='page', methods=['GET']),
        Rule('/page/<name>', endpoint='asset', methods=['GET']),
        Rule('/state', endpoint='state', methods=['GET']),
        Rule('/samples/<name>', endpoint='thumbnail', methods=['GET']),
        Rule('/runs', endpoint='start', methods=['POST']),
        Rule('/runs/<run>', endpoint='progress', methods=['GET']),
        Rule('/runs/<run>', endpoint='remove', methods=['DELETE']),
        Rule('/runs/<run>/stop', endpoint='stop', methods=['POST']),
        Rule('/runs/<run>/records', endpoint='records', methods=['GET']),
        Rule('/runs/<run>/files/<name>', endpoint='file', methods=['GET']),
        Rule('/runs/<run>/clips/<int:clip>', endpoint='look', methods=['POST']),
        Rule('/runs/<run>/clips/<int:clip>/attention', endpoint='attention', methods=['POST']),
    ]
)


class DemoApp:
    """The application; as a context manager it removes all uploads and results at its end.

    Args:
        models: What is offered, the first one chosen.
        samples: Videos to begin with.
        bound: Name or address that the server listens on; see :func:`mmsvf.app.guard.host_is_ours`.
        max_upload: Bytes of an upload.
        limits: What of a video is looked at.
    """

    def __init__(
        self,
        models: Sequence[DemoModel],
        samples: Sequence[Sample] = (),
        bound: str = 'localhost',
        max_upload: int = 100_000_000,
        limits: Limits = Limits(),  # noqa: B008  (it cannot be changed)
    ) -> None:
        self.models = {model.name: model for model in models}
        self.samples = {sample.name: sample for sample in samples}
        self.bound, self.max_upload = bound, max_upload
        self._folder = tempfile.TemporaryDirectory(prefix='mmsvf-app-', ignore_cleanup_errors=True)
        self.runs = Runs(Path(self._folder.name), limits)

    def __enter__(self) -> DemoApp:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.runs.close()
        self._folder.cleanup()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """The WSGI interface: whatever goes wrong is a message, as JSON."""
        request = Request(environ)
        try:
            check(request, self.bound)
            endpoint, values = URLS.bind_to_environ(environ).match()
            response = getattr(self, f'_{endpoint}')(request, **values)
        except HTTPException as error:
            response = _json(dict(error=error.description or error.name), error.code or 500)
        except BusyError as error:
            response = _json(dict(error=str(error)), Conflict.code)
        except (ValueError, OSError, ImportError) as error:
            response = _json(dict(error=' '.join(str(error).split())), BadRequest.code)
        except Exception as error:
            traceback.print_exc()
            response = _json(dict(error=f'{type(error).__name__}; the terminal of the server has more'), 500)
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _page(self, request: Request) -> Response:
        return _send(request, PAGE / 'index.html')

    def _asset(self, request: Request, name: str) -> Response:
        if name not in {path.name for path in PAGE.iterdir()}:
            raise NotFound(f'no {name!r} here')
        return _send(request, PAGE / name)

    def _state(self, request: Request) -> Response:
        models = [dict(name=m.name, title=m.title, note=m.note, data=m.data) for m in self.models.values()]
        samples = [dict(name=s.name, title=s.title, data=s.data) for s in self.samples.values()]
        limits = dict(max_upload=self.max_upload, max_seconds=self.runs.limits.seconds)
        versions = f'mmsvf {__version__}, torch {torch.__version__}'
        links = SMPL_METAINFO['skeleton_info'].values()
        bones = [[parent, i, link['color']] for i, (parent, link) in enumerate(zip(PARENTS[1:], links), 1)]
        return _json(dict(models=models, samples=samples, **limits, versions=versions, bones=bones))

    def _thumbnail(self, request: Request, name: str) -> Response:
        return Response(_known('sample', name, self.samples).thumbnail(), mimetype='image/jpeg')

    def _start(self, request: Request) -> Response:
        model = _known('model', request.args.get('model', ''), self.models)
        sample, name = request.args.get('sample'), request.args.get('name', '')
        title = shown_name(name) if sample is None else _known('sample', sample, self.samples).title
        if (request.content_length or 0) > self.max_upload:
            raise RequestEntityTooLarge(f'{title!r} is larger than {self.max_upload / 1e6:g} MB (--max-upload)')
        run = Run(self.runs.folder, model.name, title)
        try:
            if sample is None:
                path = save_upload(request.stream, name, run.folder, self.max_upload)
            self.runs.start(
                run,
                lambda: model.predictor,
                lambda predictor: predictor.open(path) if sample is None else self.samples[sample].open(predictor),
                model.side,
            )
        except BaseException:
            self.runs.remove(run)
            raise
        return _json(run.progress(), 202)

    def _run(self, name: str) -> Run:
        return _known('result', name, self.runs.runs)

    def _progress(self, request: Request, run: str) -> Response:
        return _json(self._run(run).progress())

    def _stop(self, request: Request, run: str) -> Response:
        self._run(run).stop()
        return _json({})

    def _remove(self, request: Request, run: str) -> Response:
        self.runs.remove(self._run(run))
        return _json({})

    def _records(self, request: Request, run: str) -> Response:
        return _json(self._done(run).lines())

    def _file(self, request: Request, run: str, name: str) -> Response:
        found = self._done(run)
        if name not in {path.name for path in found.folder.iterdir()}:
            raise NotFound(f'the result has no file {name!r}')
        return _send(request, found.folder / name)

    def _done(self, name: str) -> Run:
        run = self._run(name)
        if run.state != 'done':
            raise Conflict(f'the prediction is {run.state}')
        return run

    def _ask(self, run: str, clip: int, question: Callable[[Inside, Any], Any]) -> Response:
        done = self._done(run)
        if clip >= len(done.clips):
            raise NotFound(f'the result has {len(done.clips)} clips, from 0')
        with self.runs.computing():
            return _json(question(Inside(self.models[done.model].predictor), done.clips[clip]))

    def _look(self, request: Request, run: str, clip: int) -> Response:
        return self._ask(run, clip, lambda inside, kept: inside.look(kept))

    def _attention(self, request: Request, run: str, clip: int) -> Response:
        request.max_content_length = LONGEST_QUESTION
        asked: Any = request.get_json()
        asked = asked if isinstance(asked, dict) else {}
        layer, query, head = (asked.get(key) for key in ('layer', 'query', 'head'))
        numbers = isinstance(query, list) and all(type(share) in (int, float) for share in query)
        if not isinstance(layer, str) or not numbers or not (head is None or type(head) is int):
            raise BadRequest('layer: a name, query: time, row and column from 0 to 1, head: a number or null expected')
        return self._ask(run, clip, lambda inside, kept: inside.attention(kept, str(layer), query, head))


def _known(what: str, name: str, there: dict[str, Any]) -> Any:
    if name not in there:
        raise NotFound(f'no {what} {name[:100]!r}; it may have been removed')
    return there[name]


def _json(values: Any, status: int = 200) -> Response:
    return Response(json.dumps(values, allow_nan=False), status, mimetype='application/json')


def _send(request: Request, path: Path) -> Response:
    """A file, or the part of it that a player asks for."""
    return send_file(path, request.environ, mimetype=TYPES[path.suffix], conditional=True)


class _Handler(WSGIRequestHandler):
    timeout = 60  # seconds without a byte, after which a connection is given up

    def log_request(self, code: Any = '-', size: Any = '-') -> None:
        """Say nothing: what is wrong is told to who asked."""


def serve(app: DemoApp, host: str, port: int) -> BaseWSGIServer:
    """A server of the application that listens, and answers once its ``serve_forever`` runs.

    Raises:
        OSError: the address is taken or not this machine's.
    """
    try:
        return make_server(host, port, app, threaded=True, request_handler=_Handler)
    except (OSError, SystemExit) as error:
        raise OSError(
            f'cannot listen on {host}, port {port}; is it taken? Give another --port, 0 for any that is free'
        ) from error
