"""How an image of a record becomes a network's input, by the protocol of those who published a figure.

| protocol | decoder and filter of the resize | sizes |
|---|---|---|
| opencv | OpenCV, bilinear: MXNet's ImageRecordIter, hence GluonCV and this project | short side ceil(size / crop) |
| timm | Pillow, bicubic of GluonCV's networks, with antialiasing | floor(size / crop) |
| torchvision | Pillow, bilinear, with antialiasing | floor(size / crop) |

Then the centre crop, and the normalisation. A Protocol may also be what is wrong: without the shape, with the channels
exchanged, with another normalisation.
"""
import io
import math
from typing import Any, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import short_side
from gluon_tricks.data.pipeline import MEAN, STD, Batch, whole_batches
from gluon_tricks.data.reader import Reader
from gluon_tricks.data.records.images import open_whole, orientation, turn
from gluon_tricks.data.records.pool import in_threads

_AHEAD = 128  # inputs that are made before they are asked for, of 0.6 MB each


class Protocol(NamedTuple):
    """size: side of the input; crop_ratio: its share of the resized short side; filter: of the resize.

    unit: what a pixel is divided by before the normalisation by mean and std. bgr: blue comes first. square: the whole
    image is resized to a square. ratio: the image is first stretched to this ratio of width and height.
    """

    name: str
    size: int
    crop_ratio: float
    filter: str
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    unit: float = 1.0
    bgr: bool = False
    square: bool = False
    ratio: Optional[float] = None

    @property
    def short(self) -> int:
        """What the short side is resized to."""
        if self.name == 'opencv':
            return short_side(self.size, self.crop_ratio)
        return int(math.floor(self.size / self.crop_ratio))

    def words(self) -> str:
        """The protocol in a few words."""
        library = 'OpenCV' if self.name == 'opencv' else 'Pillow'
        return f'short side to {self.short} ({library}, {self.filter}), centre crop {self.size}'


def get(name: str, size: int, crop_ratio: float = 0.875, filter: str = 'bicubic', mean: Any = MEAN,
        std: Any = STD) -> Protocol:
    """The protocol called so, for inputs of this size. filter: of timm's. mean, std: of opencv's, of pixels to 255."""
    if name == 'opencv':
        return Protocol(name, size, crop_ratio, 'bilinear', tuple(mean), tuple(std))
    return Protocol(name, size, crop_ratio, filter if name == 'timm' else 'bilinear', (0.485, 0.456, 0.406),
                    (0.229, 0.224, 0.225), unit=255.0)


def input_of(protocol: Protocol, content: bytes) -> np.ndarray:
    """(3, size, size) float32 of an image, the bytes of a JPEG or PNG. Raises ValueError, with what is wrong."""
    pixels = (_opencv if protocol.name == 'opencv' else _pillow)(protocol, content)
    x = np.ascontiguousarray(pixels[:, :, ::-1 if protocol.bgr else 1].transpose(2, 0, 1), 'float32')
    x /= np.float32(protocol.unit)
    x -= np.array(protocol.mean, 'float32').reshape(3, 1, 1)
    x /= np.array(protocol.std, 'float32').reshape(3, 1, 1)
    return x


def _resized(protocol: Protocol, width: int, height: int) -> Tuple[int, int]:
    """(width, height) after the resize; the long side is cut to whole pixels, as all three do."""
    ratio = 1.0 if protocol.square else protocol.ratio
    if ratio:
        return max(protocol.short, int(protocol.short * ratio)), max(protocol.short, int(protocol.short / ratio))
    if width < height:
        return protocol.short, int(protocol.short * height / width)
    return int(protocol.short * width / height), protocol.short


def _opencv(protocol: Protocol, content: bytes) -> np.ndarray:
    """(S, S, 3) uint8, red first, as ImageRecordIter has it."""
    import cv2
    whole = open_whole(content)
    pixels = cv2.imdecode(np.frombuffer(content, 'uint8'), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError('is an image that Pillow decodes, but OpenCV cannot')
    pixels = np.ascontiguousarray(turn(pixels, orientation(whole)))
    size = _resized(protocol, pixels.shape[1], pixels.shape[0])
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    left, top = ((side - protocol.size) // 2 for side in size)
    return pixels[top:top + protocol.size, left:left + protocol.size, ::-1]


def _pillow(protocol: Protocol, content: bytes) -> np.ndarray:
    """(S, S, 3) uint8 as timm and torchvision have it, who do not turn an image by its EXIF orientation."""
    from PIL import Image
    open_whole(content)
    image = Image.open(io.BytesIO(content)).convert('RGB')
    size = _resized(protocol, *image.size)
    image = image.resize(size, Image.Resampling[protocol.filter.upper()])
    left, top = (int(round((side - protocol.size) / 2.0)) for side in size)
    return np.asarray(image)[top:top + protocol.size, left:left + protocol.size]


class ProtocolStream:
    """The rows of a reader's file by a protocol, as `data.pipeline.EvalStream` gives them: (Batch, valid).

    labels: of all rows of the file. Raises UsageError that names the record whose image is damaged.
    """

    def __init__(self, reader: Reader, labels: np.ndarray, protocol: Protocol, rows: np.ndarray,
                 worker_batch_size: int) -> None:
        self.reader, self.labels, self.protocol, self.rows = reader, labels, protocol, rows
        self.worker_batch_size, self.num_images = worker_batch_size, len(rows)

    def batches(self) -> Iterator[Tuple[Batch, int]]:
        """Generator of (Batch of `worker_batch_size` rows, number of its rows that count)."""
        size, left = self.worker_batch_size, self.num_images
        rows = whole_batches(self.rows, size)
        images = in_threads(self._input, ((row,) for row in rows.tolist()), self.reader.threads, _AHEAD)
        for begin in range(0, len(rows), size):
            data = np.stack([next(images) for _ in range(size)])
            yield Batch([mx.nd.array(data)], [mx.nd.array(self.labels[rows[begin:begin + size]])]), min(left, size)
            left -= size

    def _input(self, row: int) -> np.ndarray:
        try:
            return input_of(self.protocol, self.reader.image(row))
        except ValueError as error:
            if type(error) is not ValueError:  # a UsageError names the record already
                raise
            raise self.reader.undecodable(row, error) from error
