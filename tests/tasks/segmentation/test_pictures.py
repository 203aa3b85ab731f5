import numpy as np
from PIL import Image

from gluon_tricks.tasks.segmentation.pictures import names_of, picture, shares


def test_the_mask_has_ade20ks_colours():
    image, label = Image.new('RGB', (20, 10), 'red'), np.zeros((10, 20), 'int64')
    label[:, 15:] = 1
    result = np.asarray(picture(image, label, names_of(150)))
    assert result[5, 22].tolist() == [120, 120, 120] and result[5, 38].tolist() == [180, 120, 120]
    assert shares(label) == [(0, 0.75), (1, 0.25)]
    assert names_of(3) == ['class 1', 'class 2', 'class 3'] and names_of(150)[0] == 'wall'
