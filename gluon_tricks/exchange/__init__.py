"""Weights in and out: to and from other frameworks. The formats and timm's names are in ``models/``, where every
``load_params`` reads them."""
