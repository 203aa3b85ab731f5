"""docs/tricks: every card runs, prints and draws what it shows, and its figures are the paper's."""
import importlib.util
import io
import re
import xml.etree.ElementTree

import pytest

import gluon_tricks as gt
from gluon_tricks.config.recipes import RECIPES
from support import ROOT

FOLDER = ROOT / 'docs' / 'tricks'
PAPER = ROOT.parent / 'shared' / 'paper.txt'
SECTIONS = ['On an array', 'Picture', 'In the paper', 'Exercise']
PARAGRAPHS = ['Question', 'Equation', 'Ours', 'Cost', 'With other tricks', 'Answer']

# The options that a trick's step in the paper's tables may change.
STEPS = {
    'linear_scaling': {'batch_size'}, 'warmup': {'warmup_epochs'}, 'zero_gamma': {'last_gamma'},
    'no_bias_decay': {'no_wd'}, 'low_precision': {'dtype'}, 'resnet_tweaks': {'model'}, 'cosine_decay': {'lr_mode'},
    'label_smoothing': {'label_smoothing'}, 'distillation': {'teacher', 'teacher_params'},
    'mixup': {'mixup', 'mixup_alpha', 'num_epochs'},
}
# A row whose step has other tricks too; its time is all that the paper gives.
WHOLE = {'table3/efficient/resnet50_v1'}
COLUMNS = {'top-1': 'top1', 'top-5': 'top5', 'minutes per epoch': 'minutes_per_epoch', 'G multiply-adds': 'gmacs'}


def _program():
    spec = importlib.util.spec_from_file_location('draw_cards', str(FOLDER / 'draw.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw = _program()
NAMES = sorted(draw.CARDS)
TEXTS = {name: path.read_text(encoding='utf-8') for name, path in draw.CARDS.items()}


@pytest.fixture(scope='module', params=NAMES)
def card(request):
    """(name, what each Python block printed, the drawn SVG) of a card that was run."""
    printed, figure = draw.run(request.param)
    drawn = io.StringIO()
    draw.save(figure, drawn)
    return request.param, printed, drawn.getvalue()


# ---------------------------------------------------------------------------------------------------------------------
# What a card shows is what its code does

def test_each_block_prints_what_the_card_shows(card):
    name, printed, _ = card
    blocks, shown = draw.blocks(TEXTS[name]), []
    for (language, _), (after, content) in zip(blocks, blocks[1:] + [('', '')]):
        if language == 'python':
            shown.append(content if after == 'text' else '')
    assert printed == shown


def _elements(svg):
    """Of an SVG: its words, those of ticks left out, the numbers of its paths, in order, and the Matplotlib it is of."""
    words, numbers = [], []
    for element in xml.etree.ElementTree.fromstring(svg.encode('utf-8')).iter():
        if element.tag.endswith('}text') and not re.fullmatch(r'[\d\s.−]+', ''.join(element.itertext())):
            words.append(''.join(element.itertext()).strip())
        elif element.tag.endswith('}path'):
            numbers += [float(number) for number in re.findall(r'-?\d+\.?\d*(?:e-?\d+)?', element.get('d'))]
    return words, numbers, re.search(r'Matplotlib v[\d.]+', svg).group()


def test_the_picture_beside_the_card_is_what_its_code_draws(card):
    name, _, drawn = card
    words, numbers, version = _elements(drawn)
    kept_words, kept_numbers, kept_version = _elements(draw.picture(name).read_text(encoding='utf-8'))
    assert words == kept_words and len(words) > 2
    if version == kept_version:  # another one chooses other ticks
        assert numbers == pytest.approx(kept_numbers, abs=0.1), f'type: python docs/tricks/draw.py {name}'
    assert f'(pictures/{name}.svg)' in TEXTS[name]


def test_no_picture_is_of_a_card_that_is_gone():
    assert sorted(path.name for path in (FOLDER / 'pictures').iterdir()) == [f'{name}.svg' for name in NAMES]


def test_a_picture_that_is_drawn_twice_has_the_same_bytes():
    twice = []
    for _ in range(2):
        stream = io.StringIO()
        draw.save(draw.run('warmup')[1], stream)
        twice.append(stream.getvalue())
    assert twice[0] == twice[1]


# ---------------------------------------------------------------------------------------------------------------------
# What a card has

@pytest.mark.parametrize('name', NAMES)
def test_a_card_has_its_parts_in_order_and_is_short(name):
    text = TEXTS[name]
    assert re.findall(r'^## (.+)$', text, re.M) == SECTIONS
    assert [word.replace('Equations', 'Equation') for word in re.findall(r'^\*\*([\w ]+?)\.?\*\*', text, re.M)] == PARAGRAPHS
    assert len(text.splitlines()) <= 120 and max(map(len, text.splitlines())) <= 120
    first = next(content for language, content in draw.blocks(text) if language == 'python')
    assert len([line for line in first.splitlines() if line.strip()]) <= 17
    assert {language for language, _ in draw.blocks(text)} == {'python', 'text'}
    assert text.count('```') == 2 * len(draw.blocks(text))


@pytest.mark.parametrize('name', NAMES)
def test_a_card_uses_public_names_only(name):
    code = '\n'.join(content for language, content in draw.blocks(TEXTS[name]) if language == 'python')
    assert not re.findall(r'[.\s]_\w+', code)
    assert set(re.findall(r'\bgt\.tricks\.(\w+)', code)) <= set(gt.tricks.__all__)
    assert set(re.findall(r'\bgt\.(\w+)', code)) <= set(gt.__all__)
    if name != 'resnet_tweaks':
        own = [function for function, file in _files().items() if file == name]
        assert any(f'gt.tricks.{function}(' in code for function in own), own


def _files():
    """{public function of a trick: its file}."""
    return {function: getattr(gt.tricks, function).__module__.split('.')[-1] for function in gt.tricks.__all__}


def test_every_trick_of_the_paper_has_a_card():
    tricks = {path.stem: path.read_text(encoding='utf-8') for path in (ROOT / 'gluon_tricks' / 'tricks').glob('[a-z]*.py')}
    of_the_paper = {name for name, text in tricks.items() if '(paper section' in text.splitlines()[0]}
    assert set(NAMES) == of_the_paper | {'resnet_tweaks'} == set(STEPS)
    for name in of_the_paper:
        assert f'docs/tricks/{name}.md' in tricks[name], name
    assert 'docs/tricks/resnet_tweaks.md' in (ROOT / 'gluon_tricks' / 'models' / 'resnet.py').read_text(encoding='utf-8')


def test_the_index_names_each_card_and_its_section():
    index = (FOLDER / 'README.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| (\d\.\d) \| \[[^]]+\]\((\w+)\.md\) \|', index, re.M)
    assert sorted(name for _, name in rows) == NAMES and rows == sorted(rows, key=lambda row: row[0])
    for section, name in rows:
        assert re.search(rf'[Ss]ection {re.escape(section)}\b', TEXTS[name]), name


@pytest.mark.parametrize('page', NAMES + ['README'])
def test_links_lead_somewhere(page):
    text = (FOLDER / f'{page}.md').read_text(encoding='utf-8')
    targets = re.findall(r'\]\(([^)#]+)', text)
    assert targets and all((FOLDER / target).is_file() for target in targets)


# ---------------------------------------------------------------------------------------------------------------------
# The figures and words of the paper

def _in_the_paper(name):
    """The section's rows as [{column: cell}], and its words."""
    section = re.search(r'^## In the paper\n(.*?)^\*\*Ours', TEXTS[name], re.M | re.S).group(1)
    lines = [line for line in section.splitlines() if line.startswith('|')]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return [dict(zip(cells[0], row)) for row in cells[2:]], re.sub(r'^\|.*$', '', section, flags=re.M)


@pytest.mark.parametrize('name', NAMES)
def test_the_figures_are_those_of_the_recipes(name):
    rows, words = _in_the_paper(name)
    for row in rows:
        paper = RECIPES[row['row'].strip('`')].paper
        for column in set(row) - {'row', 'change'}:
            value = paper.get(COLUMNS[column])
            assert row[column] == ('' if value is None else '%.2f' % value if column.startswith('top') else str(value)), row
    assert set(re.findall(r'\d+\.\d\d\b', words)) <= {row['change'].strip('+-') for row in rows}


@pytest.mark.parametrize('name', NAMES)
def test_the_change_is_given_of_the_steps_that_are_the_cards_trick_alone(name):
    changes = []
    for row in _in_the_paper(name)[0]:
        recipe = RECIPES[row['row'].strip('`')]
        above = RECIPES[recipe.above]
        options, others = recipe.config.to_dict(), above.config.to_dict()
        changed = {option for option in options if options[option] != others[option]} - {'save_dir'}
        alone = changed and changed <= STEPS[name] or recipe.name in WHOLE
        assert row['change'] == (f'{recipe.paper["top1"] - above.paper["top1"]:+.2f}' if alone else ''), recipe.name
        changes += [row['change']] if alone else []
    assert changes


@pytest.mark.parametrize('name', NAMES)
def test_ours_says_n_and_deviation_or_that_nothing_was_run(name):
    ours = re.search(r'^\*\*Ours\.\*\* (.*?)^$', TEXTS[name], re.M | re.S).group(1)
    figures = re.findall(r'([-+]?\d+\.\d\d) ± (\d+\.\d\d)', ours)
    assert re.search(r'n = \d+', ours) and len(figures) > 2
    ladders = (ROOT / 'docs' / 'ladders.md').read_text(encoding='utf-8')
    for figure, spread in figures:  # a signed one is a step and its interval, the others a mean and its deviation
        assert (f'{figure} ± {spread}' if figure[0] in '+-' else f'{figure} ({spread})') in ladders, figure


@pytest.mark.skipif(not PAPER.exists(), reason='the paper\'s text is not part of this project')
@pytest.mark.parametrize('name', NAMES)
def test_what_stands_in_quotation_marks_is_the_papers(name):
    paper = ' '.join(PAPER.read_text(encoding='utf-8').split())
    prose = re.sub(r'^```.*?^```$', '', TEXTS[name], flags=re.M | re.S)
    for quote in re.findall(r'"([^"]+)"', prose):
        assert ' '.join(quote.split()) in paper, quote


# ---------------------------------------------------------------------------------------------------------------------
# As notebooks

def test_the_lines_that_open_a_card_name_what_is_there():
    index = (FOLDER / 'README.md').read_text(encoding='utf-8')
    lines = re.search(r'^```\n(.*?)^```$', index, re.M | re.S).group(1)
    extra = re.search(r"'notebook': \[(.*?)\]", (ROOT / 'setup.py').read_text(encoding='utf-8')).group(1)
    assert "'.[notebook]'" in lines and all(f"'{package}'" in extra for package in ('jupytext', 'notebook'))
    for path in re.findall(r'docs/\S+?\.(?:md|py|ipynb)', index):
        assert (ROOT / path.replace('.ipynb', '.md')).is_file(), path


@pytest.mark.parametrize('name', NAMES)
def test_jupytext_makes_a_code_cell_of_each_block(name):
    jupytext = pytest.importorskip('jupytext', reason='jupytext is not installed: pip install \'.[notebook]\'')
    cells = jupytext.reads(TEXTS[name], fmt='md').cells
    code = [cell.source for cell in cells if cell.cell_type == 'code']
    assert code == [content.rstrip('\n') for language, content in draw.blocks(TEXTS[name]) if language == 'python']
    assert any('```text' in cell.source for cell in cells if cell.cell_type == 'markdown')
