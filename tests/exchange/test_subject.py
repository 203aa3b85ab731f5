"""What is exported of a run, and what it is not asked."""
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.exchange.subject import subject_of
from gluon_tricks.models.zoo import DEMO


def test_another_size_of_a_detector(runs):
    run = runs['detection']
    assert subject_of(run, size=(96, 112)).size == (96, 112)
    with pytest.raises(UsageError, match='--size 64 128 must lie within 96 and 128'):
        subject_of(run, size=(64, 128))


@pytest.mark.parametrize('task, options, words', [
    ('detection', dict(model=DEMO), '--model'), ('segmentation', dict(crop_ratio=0.5), '--crop-ratio is for a classifier'),
    ('segmentation', dict(size=(96, 96)), '--size is for a detector'), ('classification', dict(model=DEMO), '--model is for a file')])
def test_options_of_another_task_are_refused(task, options, words, runs):
    with pytest.raises(UsageError, match=words):
        subject_of(runs[task], **options)
