from gluon_tricks.tasks.segmentation.protocol import protocol


def test_protocols_say_what_they_do():
    assert 'centre crop 480 x 480' in protocol('crop', crop_size=480)
    assert 'own size' in protocol('whole')
    assert '520 times 0.5, 0.75, 1, 1.25, 1.5, 1.75' in protocol('multi', 520, 480)
