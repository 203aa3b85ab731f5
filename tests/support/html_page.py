"""An HTML page as a checker reads it: elements that are closed, headings, tables, images, addresses."""
import html.parser

VOID = {'meta', 'link', 'img', 'br', 'hr', 'input'}


class Page(html.parser.HTMLParser):
    """elements: [(tag, attributes)] in their order; text: all of it; headings: [(level, text)]; faults: sentences."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.text, self.headings, self.faults, self._open = [], '', [], [], []
        self.feed(content)
        self.close()
        if self._open:
            self.faults.append(f'not closed: {self._open}')

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ('h1', 'h2', 'h3', 'h4', 'h5', 'h6'):
            self.headings.append((int(tag[1]), ''))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.faults.append(f'{tag} ends what is not open')

    def handle_data(self, text):
        self.text += text
        if self._open and self._open[-1] in ('h1', 'h2', 'h3', 'h4', 'h5', 'h6'):
            level, before = self.headings[-1]
            self.headings[-1] = level, before + text

    def of(self, *tags):
        """The attributes of each element of these tags."""
        return [attributes for tag, attributes in self.elements if tag in tags]


def check(page):
    """Assert what every page must have, for whoever reads it with eyes, ears or a keyboard, and without a network."""
    assert not page.faults
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1 and all(text.strip() for _, text in page.headings)
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    assert page.of('html')[0]['lang'] == 'en' and page.of('title') and page.of('main') and page.of('nav')
    assert any('width=device-width' in meta.get('content', '') for meta in page.of('meta'))
    assert all(image['alt'].strip() and int(image['width']) and int(image['height']) for image in page.of('img'))
    assert all(cell.get('scope') in ('row', 'col', 'rowgroup') for cell in page.of('th'))
    names = [attributes['id'] for _, attributes in page.elements if 'id' in attributes]
    assert len(names) == len(set(names))
    for tag, attributes in page.elements:
        assert tag not in ('script', 'iframe', 'object', 'embed', 'base', 'form', 'style') or tag == 'style'
        assert not [name for name in attributes if name.startswith('on')], attributes
        for name in ('src', 'href', 'srcset', 'poster', 'action'):
            address = attributes.get(name, '#')
            assert address.startswith(('#', 'data:')), address
            assert not address.startswith('#') or name != 'href' or address == '#' or address[1:] in names
        if 'overflow' in attributes.get('style', '') or 'wide' in attributes.get('class', '').split():
            assert attributes['tabindex'] == '0' and attributes['role'] == 'region' and attributes['aria-label']
