"""Chromium without a window, told what to do by its DevTools protocol over a pipe."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ('chromium', 'chromium-browser', 'google-chrome')


def program():
    """The path of a browser, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser that keeps nothing. events: what it told, [(method, parameters)], since the page opened."""

    def __init__(self, folder, patience=120.0):
        (theirs, self._write), (self._read, ours) = os.pipe(), os.pipe()
        words = [program(), '--headless=new', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe',
                 f'--user-data-dir={folder}', '--no-first-run', '--disable-background-networking', '--hide-scrollbars']

        def place():
            """It reads from 3 and writes to 4."""
            copies = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, ours)]
            for copy, number in zip(copies, (3, 4)):
                os.dup2(copy, number)

        self._process = subprocess.Popen(words, pass_fds=(3, 4), preexec_fn=place, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        os.close(theirs)
        os.close(ours)
        self._rest, self._number, self.patience, self.events, self._session = b'', 0, patience, [], None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self._session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def call(self, method, **parameters):
        """What the browser answers; raises RuntimeError with its complaint."""
        self._number += 1
        message = dict(id=self._number, method=method, params=parameters)
        if self._session:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self._number:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                return answer['result']
            self.events.append((answer['method'], answer['params']))

    def _next(self):
        limit = time.monotonic() + self.patience
        while b'\0' not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, limit - time.monotonic()))
            block = os.read(self._read, 1 << 20) if ready else b''
            if not block:
                raise RuntimeError('the browser says nothing more')
            self._rest += block
        message, _, self._rest = self._rest.partition(b'\0')
        return json.loads(message.decode())

    def open(self, path, width, dark):
        """Open a file at a width in pixels; returns the seconds until all of it is loaded."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.events = []
        begin = time.monotonic()
        self.call('Page.navigate', url=path.resolve().as_uri())
        while not any(method == 'Page.loadEventFired' for method, _ in self.events):
            answer = self._next()
            self.events.append((answer['method'], answer['params']))
        return time.monotonic() - begin

    def evaluate(self, script):
        """The value of a script, waited for."""
        found = self.call('Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in found:
            raise RuntimeError(str(found['exceptionDetails'])[:500])
        return found['result'].get('value')

    def screenshot(self, path, top=0, height=None):
        """A PNG of the page, or of so many pixels of it from `top` on."""
        size = self.call('Page.getLayoutMetrics')['cssContentSize']
        clip = {'x': 0, 'y': top, 'width': size['width'], 'height': min(height or size['height'], 16000), 'scale': 1}
        image = self.call('Page.captureScreenshot', captureBeyondViewport=True, clip=clip)['data']
        path.write_bytes(base64.b64decode(image))

    def requests(self):
        """The addresses that were asked for, but the page's own and those that hold what they name."""
        return [parameters['request']['url'] for method, parameters in self.events
                if method == 'Network.requestWillBeSent' and not parameters['request']['url'].startswith('data:')][1:]

    def complaints(self):
        """What the console shows."""
        return [str(parameters)[:500] for method, parameters in self.events
                if method in ('Log.entryAdded', 'Runtime.exceptionThrown', 'Runtime.consoleAPICalled')]

    def close(self):
        try:
            self._session = None
            self.call('Browser.close')
        except (OSError, RuntimeError):
            pass
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.close()
