"""A classifier's ONNX model that takes an image as it was decoded: validation's preprocessing and the softmax inside.

    image, uint8 (H, W, 3), RGB, any size of at least one pixel
      -> short side to ceil(S / crop ratio), bilinear, rounded to whole numbers -> centre square of S
      -> less the mean, over the deviation -> network -> softmax -> probabilities, float32 (K,)

The numbers are `data.image_file.preprocess`'s, but for OpenCV's bilinear weights, which it rounds to 1/2048: a pixel
may differ by one step of 256. The metadata hold the names of the classes and these numbers. The image must stand
upright: EXIF orientations are whoever decodes' to apply.
"""
import json

import numpy as np

from gluon_tricks.data.image_file import short_side
from gluon_tricks.exchange.onnx_graph import finished, require


def from_image(model, input_size, crop_ratio, mean, std, classes):
    """The model of `onnx_graph.classifier` behind the preprocessing of an image, with a softmax after it.

    mean, std: of the three channels, in 0 to 255; classes: names, in the order of the scores.
    """
    onnx = require('onnx')
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array
    short = short_side(input_size, crop_ratio)
    constants = {
        'image_short': ([short], 'int64'), 'image_side': ([input_size], 'int64'), 'image_0': ([0], 'int64'),
        'image_2': ([2], 'int64'), 'image_front': ([1, 3], 'int64'),
        'image_axes': ([2, 3], 'int64'), 'image_mean': (np.reshape(mean, (1, 3, 1, 1)), 'float32'),
        'image_std': (np.reshape(std, (1, 3, 1, 1)), 'float32'), 'image_half': (0.5, 'float32'),
        'image_least': (0, 'float32'), 'image_most': (255, 'float32')}
    nodes = [
        make_node('Transpose', ['image'], ['image_chw'], perm=[2, 0, 1]),
        make_node('Cast', ['image_chw'], ['image_float'], to=onnx.TensorProto.FLOAT),
        make_node('Unsqueeze', ['image_float', 'image_0'], ['image_batch']),
        # The new sides: short * side / short side, cut off to whole numbers
        make_node('Shape', ['image'], ['image_shape']),
        make_node('Slice', ['image_shape', 'image_0', 'image_2'], ['image_sides']),
        make_node('ReduceMin', ['image_sides'], ['image_shortest'], axes=[0], keepdims=1),
        make_node('Mul', ['image_sides', 'image_short'], ['image_product']),
        make_node('Div', ['image_product', 'image_shortest'], ['image_new']),
        make_node('Concat', ['image_front', 'image_new'], ['image_sizes'], axis=0),
        make_node('Resize', ['image_batch', '', '', 'image_sizes'], ['image_resized'], mode='linear',
                  coordinate_transformation_mode='half_pixel'),
        make_node('Add', ['image_resized', 'image_half'], ['image_raised']),  # OpenCV rounds halves up
        make_node('Floor', ['image_raised'], ['image_rounded']),
        make_node('Clip', ['image_rounded', 'image_least', 'image_most'], ['image_pixels']),
        # The centre square
        make_node('Sub', ['image_new', 'image_side'], ['image_margin']),
        make_node('Div', ['image_margin', 'image_2'], ['image_begin']),
        make_node('Add', ['image_begin', 'image_side'], ['image_end']),
        make_node('Slice', ['image_pixels', 'image_begin', 'image_end', 'image_axes'], ['image_cut']),
        make_node('Reshape', ['image_cut', 'image_square'], ['image_crop']),
        make_node('Sub', ['image_crop', 'image_mean'], ['image_centred']),
        make_node('Div', ['image_centred', 'image_std'], ['input']),
    ]
    constants['image_square'] = ([1, 3, input_size, input_size], 'int64')
    number = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    after = [make_node('Softmax', ['logits'], ['image_softmax'], axis=1),
             make_node('Squeeze', ['image_softmax', 'image_0'], ['probabilities'])]
    for node in nodes + after:
        node.name = node.output[0]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes + list(model.graph.node) + after, 'gluon_tricks',
        [value('image', onnx.TensorProto.UINT8, ['height', 'width', 3])],
        [value('probabilities', onnx.TensorProto.FLOAT, [number])],
        list(model.graph.initializer) + [from_array(np.array(what, dtype), name)
                                         for name, (what, dtype) in constants.items()])
    return finished(onnx, graph, {'classes': json.dumps(list(classes)), 'resize': str(short), 'crop': str(input_size),
                                  'interpolation': 'bilinear', 'mean': json.dumps(list(map(float, mean))),
                                  'std': json.dumps(list(map(float, std)))})
