"""The protocols of `metrics` in words, for who measures nothing and does without MXNet."""

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def protocol(kind, base_size=0, crop_size=0):
    """One line that says how the figures are measured."""
    if kind == 'crop':
        return f'protocol: short side to {crop_size} (bilinear), centre crop {crop_size} x {crop_size}, one scale'
    if kind == 'whole':
        return 'protocol: whole images at their own size, one scale'
    return 'protocol: long side to %d times %s, windows of %d x %d, each with its flip' % (
        base_size, ', '.join(f'{scale:g}' for scale in SCALES), crop_size, crop_size)
