"""Small JPEGs, record files of them, and what is wrong with some."""
from pathlib import Path


def make_jpeg(label, number, size=40):
    """JPEG bytes of a noisy image whose colour tells its label."""
    import cv2
    import numpy as np
    rng = np.random.RandomState(1000 * label + number)
    colour = np.array([[40, 200, 90], [200, 60, 60], [60, 80, 220], [220, 210, 40]][label % 4])
    image = np.clip(colour + rng.normal(0, 40, (size, size + number % 5, 3)), 0, 255).astype('uint8')
    return cv2.imencode('.jpg', image)[1].tobytes()


def make_records(folder, train=64, val=27, classes=4):
    """Write folder/rec/{train,val}.{rec,idx} and return the folder."""
    from gluon_tricks.data.records.packing import pack
    rec = Path(folder) / 'rec'
    rec.mkdir(parents=True)
    for part, number, offset in (('train', train, 0), ('val', val, 10000)):
        items = [(make_jpeg(i % classes, i + offset), i % classes, f'image{i}') for i in range(number)]
        pack(items, str(rec / part))
    return Path(folder)


def relabel(rec, row, label):
    """Give record number `row` of a record file another label."""
    import struct

    from gluon_tricks.data.records.record_file import read_index
    offset = sorted(read_index(str(rec)[:-4] + '.idx')[1])[row]
    with open(str(rec), 'r+b') as stream:
        stream.seek(int(offset) + 12)
        stream.write(struct.pack('<f', label))


def stem(rec):
    """The path of a record file without its suffix."""
    return rec[:-len('.rec')]


def change(rec, place, content):
    """Write bytes over those at a place of a file."""
    with open(rec, 'r+b') as stream:
        stream.seek(place)
        stream.write(content)


def rewrite(rec, images):
    """Replace the records by those of {key: (label, image)} or what stands there; the index follows; no list."""
    from gluon_tricks.data.records.record_file import read_index, record
    keys, offsets = read_index(stem(rec) + '.idx')
    content = open(rec, 'rb').read()
    ends = list(offsets[1:]) + [len(content)]
    out, index = b'', ''
    for key, begin, end in zip(keys, offsets, ends):
        index += f'{key}\t{len(out)}\n'
        out += record(int(key), *images[key]) if key in images else content[begin:end]
    open(rec, 'wb').write(out)
    open(stem(rec) + '.idx', 'w').write(index)


def read_cut_images(read, path):
    """Cut a JPEG at many lengths; read(path), an array, refuses each with one sentence, or gives the whole one's.

    Returns {length: whether it was refused}; the last is the whole file's.
    """
    import numpy as np

    from gluon_tricks.errors import UsageError
    content, refused = make_jpeg(0, 0, 60), {}
    path.write_bytes(content)
    whole = read(str(path))
    for length in [0, 1, 2, *range(150, 180), len(content) // 2, len(content) - 2, len(content)]:
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(read(str(path)), whole)
            refused[length] = False
        except UsageError as error:
            assert path.name in str(error) and '\n' not in str(error), str(error)
            refused[length] = True
    return refused


NO_CLASSES = (4, -1, 1e9, 3.5, 3.0000002)  # labels that are none of four classes


def _huge_png(side, bits, colour):
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, bits, colour, 0, 0, 0)) + chunk(
        b'IDAT', zlib.compress(bytes(100))) + chunk(b'IEND', b'')


def _huge_jpeg(before=b''):
    content = make_jpeg(0, 0)
    place = content.index(b'\xff\xc0') + 5
    return content[:2] + before + content[2:place] + b'\xff\xdc' * 2 + content[place + 4:]  # 65500 x 65500


# Images whose headers ask for gigabytes.
HUGE = {'PNG of 60000': lambda: _huge_png(60000, 8, 2), 'PNG of 30000, one bit': lambda: _huge_png(30000, 1, 0),
        'JPEG of 65500': _huge_jpeg,
        'JPEG behind 120 kB': lambda: _huge_jpeg(2 * (b'\xff\xe2' + (60000).to_bytes(2, 'big') + bytes(59998)))}


def damaged_records(tmp_path):
    """Records of which one has an image that MXNet dies of."""
    from gluon_tricks.data.records.packing import pack
    from gluon_tricks.data.records.record_file import read_index
    pack([(make_jpeg(i % 4, i), i % 4, f'a/image{i}.jpg') for i in range(16)], str(tmp_path / 'bad'), shuffle=False)
    with open(str(tmp_path / 'bad.rec'), 'r+b') as stream:
        stream.seek(int(read_index(str(tmp_path / 'bad.idx'))[1][5]) + 8 + 24 + 4)
        stream.write(bytes(400))
    return str(tmp_path / 'bad.rec')
