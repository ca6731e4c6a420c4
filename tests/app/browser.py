"""Headless Chromium by its own debugging protocol over a pipe: no driver, no port, no package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
# nothing of the browser's own, and no name or address but this machine's
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-extensions', '--mute-audio',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
    '--autoplay-policy=no-user-gesture-required', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost',
    '--remote-debugging-pipe',
)  # fmt: skip

# Chromium reads commands from descriptor 3 and answers on 4, which may be something else's here
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
os.dup2(pipes[0], 3)
os.dup2(pipes[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """A page in a browser; as a context manager it ends the browser.

    Args:
        folder: For the browser's profile.
        width, height: Of the page in pixels.

    Attributes:
        requests: URLs that the page asked for.
        console: Errors and warnings of the page.
    """

    def __init__(self, folder: Path, width: int = 1300, height: int = 1000) -> None:
        to_browser, from_us = os.pipe()
        from_browser, to_us = os.pipe()
        flags = [*FLAGS, f'--user-data-dir={folder}']
        command = [sys.executable, '-c', LAUNCH, str(to_browser), str(to_us), str(CHROMIUM), *flags]
        quiet: Any = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen(command, pass_fds=(to_browser, to_us), **quiet)
        os.close(to_browser)
        os.close(to_us)
        self._out, self._in, self._buffer = from_us, from_browser, b''
        self._number, self._session = 0, None
        self.requests: list[str] = []
        self.console: list[str] = []
        self._size: Any = dict(width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self) -> Browser:
        try:
            target = self('Target.createTarget', url='about:blank')['targetId']
            self._session = self('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
            self('Emulation.setDeviceMetricsOverride', **self._size)
            for domain in ('Page', 'Network', 'Runtime', 'Log'):
                self(f'{domain}.enable')
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._session = None
        with contextlib.suppress(OSError, TimeoutError, EOFError):
            self('Browser.close')
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        os.close(self._in)

    def __call__(self, method: str, **params: Any) -> Any:
        """A command's answer; what the page did in the meantime is noted."""
        self._number += 1
        command = dict(id=self._number, method=method, params=params)
        if self._session:
            command['sessionId'] = self._session
        os.write(self._out, json.dumps(command).encode() + b'\0')
        while True:
            message = self._message(60)
            if message.get('id') == self._number:
                if 'error' in message:
                    raise RuntimeError(f'{method}: {message["error"]}')
                return message['result']

    def _message(self, seconds: float) -> Any:
        end = time.monotonic() + seconds
        while b'\0' not in self._buffer:
            if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError('the browser does not answer')
            block = os.read(self._in, 2**16)
            if not block:
                raise EOFError('the browser ended')
            self._buffer += block
        text, self._buffer = self._buffer.split(b'\0', 1)
        message = json.loads(text)
        self._note(message.get('method'), message.get('params', {}))
        return message

    def _note(self, event: str | None, params: Any) -> None:
        if event == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif event == 'Runtime.exceptionThrown':
            self.console.append(json.dumps(params['exceptionDetails']))
        elif event == 'Runtime.consoleAPICalled' and params['type'] in ('error', 'warning', 'assert'):
            self.console.append(json.dumps(params['args']))
        elif event == 'Log.entryAdded' and params['entry']['level'] in ('error', 'warning'):
            self.console.append(f'{params["entry"]["text"]} {params["entry"].get("url", "")}')

    def open(self, url: str) -> None:
        """Go to a page."""
        self('Page.navigate', url=url)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page, of a promise what it comes to."""
        answer = self('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in answer:
            raise RuntimeError(answer['exceptionDetails'])
        return answer['result'].get('value')

    def wait(self, condition: str, seconds: float = 60) -> Any:
        """Wait until an expression holds."""
        end = time.monotonic() + seconds
        while not (value := self.js(condition)):
            if time.monotonic() > end:
                raise TimeoutError(f'{condition} does not hold after {seconds} s; {self.console}')
            time.sleep(0.05)
        return value

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """A click of the mouse on an element, at shares of its width and height."""
        box = self.js(
            f'(() => {{const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: "center"}});'
            ' const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]})()'
        )
        place: Any = dict(x=box[0] + x * box[2], y=box[1] + y * box[3], button='left', clickCount=1)
        for kind in ('mousePressed', 'mouseReleased'):
            self('Input.dispatchMouseEvent', type=kind, **place)

    def choose_file(self, selector: str, path: Path) -> None:
        """Give a file to an input for files, as a user does in the dialogue."""
        root = self('DOM.getDocument')['root']['nodeId']
        node = self('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self('DOM.setFileInputFiles', nodeId=node, files=[str(path)])

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        size = self('Page.getLayoutMetrics')['cssContentSize']
        clip = dict(x=0, y=0, width=self._size['width'], height=size['height'], scale=1)
        data = self('Page.captureScreenshot', clip=clip, captureBeyondViewport=True)['data']
        path.write_bytes(base64.b64decode(data))
