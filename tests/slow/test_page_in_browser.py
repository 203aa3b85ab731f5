"""The page of a report in a browser: no request, no complaint, nothing serious that an accessibility checker finds.

Needs Chromium (`apt-get install chromium`), and of npm's axe-core the file axe.min.js, which AXE names:

    npm install axe-core && AXE=node_modules/axe-core/axe.min.js python -m pytest -m slow tests/slow/test_page_in_browser.py

SHOTS=DIR keeps a picture of each page.
"""
import json
import os
from pathlib import Path

import numpy as np
import pytest

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.results import page
from gluon_tricks.results.report import report
from support.browser import Browser, program
from support.finished import finished

pytestmark = pytest.mark.slow
VIEWS = [(width, dark) for width in (1280, 390) for dark in (False, True)]


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    pytest.importorskip('jinja2', reason="pip install '.[report]'")
    if program() is None:
        pytest.skip('there is no Chromium')
    with Browser(tmp_path_factory.mktemp('browser')) as found:
        yield found


@pytest.fixture(scope='module')
def axe():
    path = Path(os.environ.get('AXE', 'node_modules/axe-core/axe.min.js'))
    if not path.is_file():
        pytest.skip(f'{path} is not there: npm install axe-core')
    return path.read_text(encoding='utf-8')


def noisy(path, seed):
    """Have a run's curves go up and down from epoch to epoch, with 20 lines of the log in each."""
    draws, log = np.random.RandomState(seed), Path(path) / 'log.jsonl'
    events = [json.loads(line) for line in log.read_text().splitlines()]
    with open(str(log), 'w') as stream:
        for event in events:
            for batch in range(1, 21):
                stream.write(json.dumps({'event': 'batch', 'epoch': event['epoch'], 'batch': batch, 'lr': event['lr'],
                                         'update': 20 * event['epoch'] + batch, 'time_stamp': 0.0}) + '\n')
            event['train'] = {'loss': event['train']['loss'] + draws.rand(), 'accuracy': draws.rand()}
            event.update(speed=1000 * draws.rand(), wait=draws.rand())
            event['validation']['loss'] = 3 * draws.rand()
            if event is not events[-1]:
                event['validation']['top1'] = 60 + 10 * draws.rand()
            stream.write(json.dumps(event) + '\n')


def runs(folder, groups, seeds):
    """SAVE_DIRs of so many groups of runs of 200 epochs: the rows of Table 6, and others with another weight decay."""
    rows = [RECIPES[name] for name in RECIPES if name.startswith('table6/')]
    paths = []
    for number in range(groups):
        row, changes = rows[number % len(rows)], {'wd': 1e-4 * (1 + number // len(rows)), 'num_epochs': 200}
        for seed in range(seeds):
            config = row.config.replace(lr=row.lr, seed=seed).replace(**changes)
            paths.append(finished(folder / f'run-{number}-{seed}', config, {'top1': 78 + seed / 50, 'top5': 94.0}))
            noisy(paths[-1], 100 * number + seed)
    return paths


@pytest.fixture(scope='module', params=[(1, 1), (40, 5), (200, 1)], ids=['1 run', '40 x 5 runs', '200 x 1 runs'])
def file(request, tmp_path_factory, browser):
    folder = tmp_path_factory.mktemp('page')
    paths = runs(folder, *request.param)
    (folder / 'page.html').write_bytes(page.page(report(paths + [str(folder / 'nowhere')], ['6']), ['report', *paths]))
    return folder / 'page.html'


@pytest.mark.parametrize('width, dark', VIEWS)
def test_the_page(file, width, dark, browser, axe, request):
    seconds = browser.open(file, width, dark)
    browser.evaluate(axe + ';0')
    found = browser.evaluate('axe.run().then(found => found.violations.map(each => [each.impact, each.id, '
                             'each.nodes.slice(0, 3).map(node => node.html)]))')
    assert [each for each in found if each[0] in ('serious', 'critical')] == []
    assert browser.requests() == [] and browser.complaints() == []
    assert browser.evaluate('document.documentElement.scrollWidth') <= width
    assert browser.evaluate('[...document.images].every(image => image.complete && image.naturalWidth > 0)')
    print(f'{request.node.name}: {file.stat().st_size / 1e6:.2f} MB, {seconds:.2f} s; axe: {found}')
    assert file.stat().st_size < 5e6 and seconds < 2
    if os.environ.get('SHOTS'):
        Path(os.environ['SHOTS']).mkdir(parents=True, exist_ok=True)
        browser.screenshot(Path(os.environ['SHOTS']) / f'{request.node.callspec.id}.png')


def test_by_the_keyboard(file, browser):
    """Tab leads first to the link that skips the contents, and to what scrolls; what has the focus is outlined."""
    browser.open(file, 390, False)
    seen = []
    while len(seen) < 12 and (not seen or seen[-1][0] != 'BODY'):  # after the last it begins again
        for kind in ('keyDown', 'keyUp'):
            browser.call('Input.dispatchKeyEvent', type=kind, key='Tab', code='Tab', windowsVirtualKeyCode=9)
        seen.append(browser.evaluate('(e => [e.tagName, e.getAttribute("href"), getComputedStyle(e).outlineStyle, '
                                     'e.getBoundingClientRect().left >= 0])(document.activeElement)'))
    assert seen[0] == ['A', '#main', 'solid', True]
    assert all(outline == 'solid' and inside for name, _, outline, inside in seen if name != 'BODY')
    assert 'DIV' in [name for name, *_ in seen]


def test_on_paper(file, browser):
    """Printed in the dark, the page is dark on white, and what is folded is unfolded."""
    browser.open(file, 1280, True)
    browser.call('Emulation.setEmulatedMedia', media='print', features=[
        {'name': 'prefers-color-scheme', 'value': 'dark'}])
    assert browser.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
    assert browser.evaluate('getComputedStyle(document.querySelector(".drawn")).filter') == 'none'
    assert browser.evaluate('document.querySelector("details table").getBoundingClientRect().height') > 50
    browser.call('Emulation.setEmulatedMedia', media='')
