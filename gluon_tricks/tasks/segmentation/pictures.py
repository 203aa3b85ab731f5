"""Segments drawn beside the photograph (paper section 6.2)."""
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gluon_tricks.compat import mx  # noqa: F401  before GluonCV

from gluoncv.data import ADE20KSegmentation
from gluoncv.utils.viz import get_color_pallete


def names_of(classes):
    """ADE20K's names where there are 150 classes, else numbers from 1, as in the masks."""
    return ADE20KSegmentation.CLASSES if classes == 150 else [f'class {each + 1}' for each in range(classes)]


def shares(labels):
    """[(class, share of the image)], the largest first."""
    found, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind='stable')
    return [(int(found[each]), counts[each] / labels.size) for each in order]


def picture(image, labels, names):
    """A Pillow image: the photograph, the classes in ADE20K's colours (H, W), and a legend of those that are there.

    Few classes have VOC's colours, whose first ones are easier to tell apart.
    """
    width, height = image.size
    palette, first = ('pascal_voc', 0) if len(names) <= 21 else ('ade20k', 1)
    mask = get_color_pallete(labels, palette)
    colours, font, line, edge = mask.getpalette(), ImageFont.load_default(), 16, 6
    found = shares(labels)
    result = Image.new('RGB', (2 * width + 220, max(height, line * len(found) + 2 * edge)), 'white')
    result.paste(image, (0, 0))
    result.paste(mask.convert('RGB'), (width, 0))
    draw = ImageDraw.Draw(result)
    for row, (label, share) in enumerate(found):
        left, top = 2 * width + edge, edge + row * line
        colour = tuple(colours[3 * (label + first):3 * (label + first + 1)])
        draw.rectangle((left, top, left + 11, top + 11), fill=colour, outline='black')
        draw.text((left + 18, top), f'{100 * share:4.1f} %  {names[label].split(",")[0]}', 'black', font)
    return result
