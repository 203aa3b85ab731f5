"""Augmentation draws are those of independent images: 2,000 batches of 128, against what independence gives."""
import numpy as np
import pytest

from gluon_tricks.data.pipeline import Augmentation, Normalise, TrainStream
from support.draws import colours_of, crops_of, make_colours, make_ramps

pytestmark = pytest.mark.slow
IMAGES, EPOCHS, BATCH = 12800, 20, 128
PLAIN = Normalise((0, 0, 0), (1, 1, 1))


def correlation(a, b):
    """Pearson's correlation in standard errors of none: below 4 once in 16,000 times where there is none."""
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1] * np.sqrt(np.size(a))


def by_image(stream, values_of):
    """(drawn, ordered): values (EPOCHS, IMAGES, V) by image and in the order of the draws."""
    drawn, ordered = [], []
    for epoch in range(EPOCHS):
        values = np.concatenate([values_of(batch) for batch in stream.epoch(epoch)])
        rows = np.random.RandomState([stream.seed, epoch, 0]).permutation(IMAGES)  # as the stream orders them
        drawn.append(values[np.argsort(rows)])
        ordered.append(values)
    return np.array(drawn), np.array(ordered)


def test_brightness(tmp_path):
    """Grey images stay grey, and their value is 100 times the drawn factor."""
    files = make_colours(tmp_path, IMAGES, [(8, 8)], (100, 100, 100))
    stream = TrainStream(*files, BATCH, 8, 1, 2, Augmentation(pca_noise=0), PLAIN)
    drawn, ordered = by_image(stream, lambda batch: colours_of(batch)[:, :1])
    batches = ordered.reshape(EPOCHS, IMAGES // BATCH, BATCH).mean(axis=2)
    print(f'deviation of the batch mean: {batches.std() / 100:.5f} of the factor, independent draws: '
          f'{ordered.std() / 100 / np.sqrt(BATCH):.5f}')
    assert batches.std() == pytest.approx(ordered.std() / np.sqrt(BATCH), rel=0.1)
    print(f'neighbouring batches {correlation(batches[:, 1:], batches[:, :-1]):.2f}, neighbouring images '
          f'{correlation(ordered[:, 1:], ordered[:, :-1]):.2f}, an image in two epochs '
          f'{correlation(drawn[1:], drawn[:-1]):.2f} (standard errors)')
    assert abs(correlation(batches[:, 1:], batches[:, :-1])) < 4
    assert abs(correlation(ordered[:, 1:], ordered[:, :-1])) < 4
    for apart in range(1, 5):
        assert abs(correlation(drawn[apart:], drawn[:-apart])) < 4


def test_crops_and_flips(tmp_path):
    """Area, ratio, place and flip: neither with themselves an image, a batch or an epoch later, nor with each other."""
    files = make_ramps(tmp_path, IMAGES, [(32, 32)])
    stream = TrainStream(*files, BATCH, 16, 1, 2, Augmentation(jitter=0, pca_noise=0), PLAIN)

    def values_of(batch):
        left, right, top, bottom, flipped = crops_of(batch).T
        width, height = right - left + 1, bottom - top + 1
        return np.stack([np.log(width * height), np.log(width / height), left + right, top + bottom, flipped], axis=1)
    drawn, ordered = by_image(stream, values_of)
    assert abs(ordered[..., 4].mean() - 0.5) < 4 * 0.5 / np.sqrt(ordered[..., 4].size)
    for value in range(5):
        for later in (1, 64, BATCH):
            assert abs(correlation(ordered[:, later:, value], ordered[:, :-later, value])) < 4, (value, later)
        for apart in range(1, 5):
            assert abs(correlation(drawn[apart:, :, value], drawn[:-apart, :, value])) < 4, (value, apart)
    for value in range(4):
        assert abs(correlation(ordered[..., 4], ordered[..., value])) < 4, value
