"""``python -m gluon_tricks predict``: the five likeliest classes of images, with their probabilities."""
import json
import math
import os

from gluon_tricks import config as configuration
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.evaluate import load_net, open_run


def parser():
    result = Parser(prog='python -m gluon_tricks predict', description=__doc__.split('``: ')[1])
    result.add_argument('images', nargs='+', metavar='IMAGE', help='image files')
    result.add_argument('--params', required=True, help='a .params file (with --model), or the SAVE_DIR of a run')
    result.add_argument('--model', help='network of a .params file')
    result.add_argument('--num-classes', type=int, help='classes (default: the run\'s, else 1000)')
    result.add_argument('--use-se', action='store_true', help='the network is a resnext with squeeze-and-excitation')
    result.add_argument('--input-size', type=int, help='side of the images (default: the run\'s, else the network\'s)')
    result.add_argument('--crop-ratio', type=float, help='crop over resized short side (default: 0.875)')
    result.add_argument('--top', type=int, default=5, help='how many classes (default: 5)')
    result.add_argument('--json', action='store_true', help='print a JSON list')
    return result


def preprocess(path, input_size, crop_ratio, mean, std):
    """(1, 3, S, S) float32 of one image file: resize of the short side, centre crop, normalisation (section 2.1).

    Raises UsageError for a file that is missing or no image.
    """
    from gluon_tricks.compat import mx
    try:
        with open(path, 'rb') as stream:
            image = mx.image.imdecode(stream.read())
    except OSError as error:
        raise UsageError('%s cannot be read (%s): give an image file' % (path, error.strerror)) from error
    except (mx.MXNetError, ValueError) as error:
        raise UsageError('%s is not an image that can be decoded: give a JPEG or PNG file' % path) from error
    short = mx.image.resize_short(image, int(math.ceil(input_size / crop_ratio)), interp=1)
    crop, _ = mx.image.center_crop(short, (input_size, input_size), interp=1)
    normal = (crop.astype('float32') - mx.nd.array(mean)) / mx.nd.array(std)
    return normal.transpose((2, 0, 1)).expand_dims(0)


def class_names(facts):
    """Names of the classes: the run's own, ImageNet's for 1000 classes, else their numbers."""
    if facts['class_names']:
        return facts['class_names']
    if facts['num_classes'] == 1000:
        from gluoncv.data import ImageNet1kAttr
        return ImageNet1kAttr().classes
    return [str(number) for number in range(facts['num_classes'])]


def main(argv):
    """Predict and print; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.top < 1:
        raise UsageError('--top %d must be at least 1' % arguments.top)
    facts = open_run(arguments.params, arguments.model, arguments.num_classes, arguments.input_size,
                     arguments.crop_ratio, arguments.use_se)
    from gluon_tricks.compat import mx
    net, _ = load_net(facts, [mx.cpu()], hybridize=False)
    names, results = class_names(facts), []
    for path in arguments.images:
        x = preprocess(path, facts['input_size'], facts['crop_ratio'], facts['config'].rgb_mean,
                       facts['config'].rgb_std)
        probability = mx.nd.softmax(net(x).astype('float32')).asnumpy()[0]
        order = probability.argsort(kind='stable')[::-1][:arguments.top]
        results.append({'image': path, 'classes': [
            {'name': names[k], 'index': int(k), 'probability': float(probability[k])} for k in order]})
    print(json.dumps(results, indent=1) if arguments.json else '\n'.join(map(_text, results)))
    return 0


def _text(result):
    lines = [os.path.basename(result['image'])]
    return '\n'.join(lines + ['  %6.2f %%  %s (%d)' % (100 * item['probability'], item['name'], item['index'])
                              for item in result['classes']])
