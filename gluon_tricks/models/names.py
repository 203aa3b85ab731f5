"""What is known of networks by their names alone, without MXNet, which builds them (`zoo`)."""

VARIANTS = ('v1b', 'v1c', 'v1d')
# Small ones for demonstrations, (depth, variant): the demo's, the others of a demo of Table 5, and a teacher for it.
DEMOS = {f'resnet{depth}_{variant}_demo': (depth, variant)
         for depth, variant in [(10, variant) for variant in VARIANTS] + [(18, 'v1d')]}
DEMO = 'resnet10_v1d_demo'


def default_input_size(name: str) -> int:
    """Side in pixels of the images a network is made for: 299 for inceptionv3, 32 for small images, 224 else."""
    name = name.lower()
    if name == 'inceptionv3':
        return 299
    return 32 if name in DEMOS or name.startswith('cifar_') else 224
