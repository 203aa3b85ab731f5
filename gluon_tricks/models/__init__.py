"""Networks (paper section 4, Tables 1 and 5): ``resnet`` builds ResNet-B, -C and -D, ``zoo`` gives every network by name,
``complexity`` counts parameters and multiply-adds."""
