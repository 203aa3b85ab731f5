import pytest

from gluon_tricks.config.rows import recipe
from gluon_tricks.errors import UsageError


def test_a_row_of_any_table():
    assert recipe('table6/resnet50_v1d/mixup').config.TASK == 'classification'
    assert recipe('table8/mixup').config.TASK == 'detection'
    assert recipe('demo-segmentation').config.TASK == 'segmentation'
    with pytest.raises(UsageError, match='table6/resnet50_v1d/mixup'):
        recipe('table6/resnet50_v1d/mixupp')
