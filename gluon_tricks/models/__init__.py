"""Networks (paper section 4, Tables 1 and 5; He et al. 2018).

``resnet`` builds ResNet-B, -C and -D, ``zoo`` gives every network by its name, ``complexity`` counts parameters and
multiply-adds.
"""
