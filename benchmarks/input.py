"""Images per second of the training input: ours against one ImageRecordIter and a loader of Pillow and NumPy.

    python benchmarks/input.py
    python benchmarks/input.py --ceiling      # against decoding alone; by threads; by the size that images are kept in

All read the same records (JPEGs of 500 x 375) and do steps 1 to 6 of the paper's section 2.1 at 224 px. The loader is
what a PyTorch user has: Pillow decodes, by `draft` no larger than needed, crops and resizes; NumPy does the rest; in
one process, and in one on each core. Ours leaves step 6 to the device: with and without it, done on the CPU. Per core:
images per second of CPU time, of all threads. On the wall: images per second of elapsed time. Every batch is touched by
the process that would train; several loaders hand theirs over in shared memory.

--ceiling: `cv2.imdecode` of the same JPEGs and nothing else, in one thread; ours with 1 thread to 64, which may be more
than there are cores, in a process each: how long the first batch takes, and the greatest resident memory; and ours from
records that `prepare folder --resize` made of the same images, with the share of the crops that are enlarged.
"""
import argparse
import ctypes
import io
import math
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.dirname(os.path.abspath(__file__))]
SIDE = 224
COLUMNS = 'per core | of decoding alone | elapsed | first batch, s | memory, MiB |\n|---|---|---|---|---|---|'
EIGENVALUES = np.array([55.46, 4.794, 1.148], 'float32')  # of ImageNet's colours, as MXNet has them
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], 'float32')


def pillow_loader(rec, idx, batch_size, mean, std):
    """Generator of (batch_size, 3, 224, 224) float32 arrays."""
    from PIL import Image

    from gluon_tricks.data.records.record_file import content_of, head_of, read_index
    rng = np.random.RandomState(0)
    _, offsets = read_index(idx)
    ends = np.append(offsets[1:], os.path.getsize(rec))
    order, batch = rng.permutation(len(offsets)), []
    with open(rec, 'rb') as stream:
        for row in order:
            stream.seek(int(offsets[row]))
            content = content_of(stream.read(int(ends[row] - offsets[row])))
            image = Image.open(io.BytesIO(content[head_of(content).start:]))
            width, height = image.size
            area, ratio = rng.uniform(0.08, 1) * width * height, math.exp(rng.uniform(math.log(0.75), math.log(4 / 3)))
            w, h = min(width, int(math.sqrt(area * ratio))), min(height, int(math.sqrt(area / ratio)))
            x, y = rng.randint(width - w + 1), rng.randint(height - h + 1)
            scale = min(w, h) / SIDE
            image.draft('RGB', (int(width / max(scale, 1)), int(height / max(scale, 1))))
            by = image.size[0] / width
            box = tuple(side * by for side in (x, y, x + w, y + h))
            pixels = np.asarray(image.convert('RGB').resize((SIDE, SIDE), Image.BILINEAR, box=box), 'float32')
            if rng.rand() < 0.5:
                pixels = pixels[:, ::-1]
            brightness, contrast, saturation = rng.uniform(0.6, 1.4, 3).astype('float32')
            pixels = pixels * brightness
            grey = pixels @ np.array([0.299, 0.587, 0.114], 'float32')
            pixels = (pixels - grey.mean()) * contrast + grey.mean()
            grey = (pixels @ np.array([0.299, 0.587, 0.114], 'float32'))[:, :, None]
            pixels = (pixels - grey) * saturation + grey
            pixels = pixels + EIGENVECTORS @ (rng.normal(0, 0.1, 3).astype('float32') * EIGENVALUES)
            batch.append(((pixels - mean) / std).transpose(2, 0, 1))
            if len(batch) == batch_size:
                yield np.stack(batch)
                batch = []


def loaders(number):
    """Like `pillow_loader`, by `number` processes that hand their batches over in shared memory, as PyTorch's do."""
    def read(rec, idx, batch_size, mean, std):
        context = multiprocessing.get_context('fork')
        filled, shape = context.Queue(), (batch_size, 3, SIDE, SIDE)
        slots = [np.frombuffer(context.RawArray('f', int(np.prod(shape))), 'float32').reshape(shape)
                 for _ in range(2 * number)]
        empty = [context.Queue() for _ in range(number)]

        def run(worker):
            for batch in pillow_loader(rec, idx, batch_size, mean, std):
                slot = empty[worker].get()
                slots[slot][:] = batch
                filled.put((worker, slot))
            filled.put((worker, None))
        for slot in range(2 * number):
            empty[slot % number].put(slot)
        workers = [context.Process(target=run, args=(worker,)) for worker in range(number)]
        for worker in workers:
            worker.start()
        ended = 0
        while ended < number:
            worker, slot = filled.get()
            if slot is None:
                ended += 1
            else:
                yield slots[slot]
                empty[worker].put(slot)
        for worker in workers:
            worker.join()
    return read


def one_iterator(rec, idx, batch_size, mean, std):
    """Generator of the batches of one ImageRecordIter, with all the threads that it takes."""
    from gluon_tricks.compat import mx
    iterator = mx.io.ImageRecordIter(
        path_imgrec=rec, path_imgidx=idx, preprocess_threads=os.cpu_count(), shuffle=True, batch_size=batch_size,
        data_shape=(3, SIDE, SIDE), mean_r=mean[0], mean_g=mean[1], mean_b=mean[2], std_r=std[0], std_g=std[1],
        std_b=std[2], rand_mirror=True, random_resized_crop=True, max_aspect_ratio=4 / 3, min_aspect_ratio=3 / 4,
        max_random_area=1, min_random_area=0.08, brightness=0.4, saturation=0.4, contrast=0.4, pca_noise=0.1,
        verbose=False)
    for batch in iterator:
        yield view(batch.data[0])


def view(array):
    """The content of an NDArray of MXNet's on the CPU, not copied."""
    from gluon_tricks.compat import mx
    array.wait_to_read()
    pointer = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(pointer)))
    size = array.size * np.dtype(array.dtype).itemsize
    return np.frombuffer((ctypes.c_byte * size).from_address(pointer.value), array.dtype)


def ours(threads, normalised):
    """What our stream yields: 8-bit pixels, to which a GPU does step 6; or these after step 6 on the CPU."""
    def read(rec, idx, batch_size, mean, std):
        from gluon_tricks.compat import mx
        from gluon_tricks.data import pipeline
        for batch in pipeline.TrainStream(rec, idx, batch_size, SIDE, 0, threads,
                                          normalise=pipeline.Normalise(mean, std)).epoch(0):
            yield from (view(each) for each in ([batch.shards([mx.cpu()])[0][0]] if normalised else batch.data))
    return read


def decode_alone(rec, idx):
    """Images per second of a core that decodes the JPEGs of a record file, whole and in colour."""
    import cv2

    from gluon_tricks.data.records.record_file import read_records
    cv2.setNumThreads(1)
    images = [np.frombuffer(image, 'uint8') for _, _, image in read_records(rec, idx)]
    start = time.process_time()
    for image in images:
        cv2.imdecode(image, cv2.IMREAD_COLOR)
    return len(images) / (time.process_time() - start)


def epoch_of(rec, idx, batch_size, threads, side=SIDE):
    """(images per second of CPU time, on the wall, seconds to the first batch, MiB) of an epoch of our reader, in a
    process of its own; the seconds count from the opened stream, the memory is the process's greatest."""
    script = ('import sys, time, resource; sys.path[:0] = [%r, %r]\nimport input as this\n'
              'from gluon_tricks.data import pipeline\n'
              'stream = pipeline.TrainStream(%r, %r, %d, %d, 0, %d)\nlist(stream.epoch(0))\n'
              'cpu, wall, first, seen = this.cpu_seconds(), time.time(), 0.0, 0\n'
              'for batch in stream.epoch(1):\n'
              '    [this.view(each)[::64].sum() for each in batch.data]\n'
              '    first, seen = first or time.time() - wall, seen + batch.size\n'
              'print(seen / (this.cpu_seconds() - cpu), seen / (time.time() - wall), first,\n'
              '      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n')
    words = script % (ROOT, os.path.dirname(os.path.abspath(__file__)), rec, idx, batch_size, side, threads)
    done = subprocess.run([sys.executable, '-c', words], check=True, stdout=subprocess.PIPE)
    return tuple(map(float, done.stdout.split()))


def enlarged(width, height, number=200000):
    """(share of the crops that are enlarged, by how much their sides are on average) for crops of 8 to 100 % of an
    image's area, brought to SIDE: where the crop has fewer pixels than the input."""
    share = np.random.RandomState(0).uniform(0.08, 1, number)
    scale = SIDE / np.sqrt(share * width * height)
    return (scale > 1).mean(), scale[scale > 1].mean() if (scale > 1).any() else 1.0


def ceiling(arguments, tree):
    """Print the tables of --ceiling."""
    from gluon_tricks.cores import available_cores
    from gluon_tricks.data.prepare.folder import pack_folder
    cores, batch = available_cores(), arguments.batch_size
    rec, idx = pack_folder(tree, processes=cores).files['train']
    alone = statistics.median(decode_alone(rec, idx) for _ in range(arguments.repeats))
    print(f'{arguments.images} JPEGs of 500 x 375, {SIDE} px, {cores} cores, median of {arguments.repeats}\n'
          f'decoding alone, cv2: {alone:.0f} images/s per core\n\n| threads, batch | {COLUMNS}')

    def row(name, files, threads, size, side=SIDE):
        runs = [epoch_of(*files, size, threads, side) for _ in range(arguments.repeats)]
        core, wall, first, memory = (statistics.median(run[place] for run in runs) for place in range(4))
        print('| %s | %.0f (%s) | %.2f | %.0f | %.2f | %.0f |' % (
            name, core, ', '.join('%.0f' % run[0] for run in runs), core / alone, wall, first, memory), flush=True)
    for threads in arguments.threads:
        row(f'{threads}, {batch}', (rec, idx), threads, batch)
    large = min(1024, arguments.images)
    for threads in [each for each in arguments.threads if each > cores]:
        row(f'{threads}, {large}', (rec, idx), threads, large)
    print(f'\n| records | {COLUMNS}')
    for short in (0, 480, 256):
        out = os.path.join(tree, f'short-{short}')
        files = pack_folder(tree, out, processes=cores, resize=short).files['train']
        height = short or 375
        share, scale = enlarged(height * 4 / 3, height)
        row('%s, %.0f kB an image; %.0f %% of the crops enlarged, x%.2f on average' % (
            f'short side {short}' if short else 'as they are', os.path.getsize(files[0]) / 1000.0 / arguments.images,
            100 * share, scale), files, cores, batch)


def measure(read, *arguments):
    """(images per second of CPU time, images per second on the wall) of an epoch, from its start to its end."""
    seen, cpu, wall = 0, cpu_seconds(), time.time()
    for images in read(*arguments):
        images.reshape(-1)[::64 // images.itemsize].sum()  # whoever takes a batch fetches each of its cache lines
        seen += images.size // (3 * SIDE * SIDE)
    return seen / (cpu_seconds() - cpu), seen / (time.time() - wall)


def cpu_seconds():
    """Of this process and of its children that ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=2000)
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--ceiling', action='store_true', help='the tables of the ceiling instead')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2, 16, 64], help='of --ceiling')
    arguments = parser.parse_args()
    from records import make_tree

    from gluon_tricks.cores import available_cores
    from gluon_tricks.data.pipeline import MEAN, STD
    from gluon_tricks.data.prepare.folder import pack_folder
    cores = available_cores()
    readers = {'Pillow and NumPy, 1 process': pillow_loader, f'Pillow and NumPy, {cores} processes': loaders(cores),
               'one ImageRecordIter': one_iterator, 'ours, 1 thread, 8 bits': ours(1, False),
               f'ours, {cores} threads, 8 bits': ours(cores, False),
               f'ours, {cores} threads, step 6 too': ours(cores, True)}
    with tempfile.TemporaryDirectory() as folder:
        make_tree(folder, arguments.images)
        if arguments.ceiling:
            ceiling(arguments, folder)
            return
        rec, idx = pack_folder(folder, processes=cores).files['train']
        figures = {name: [] for name in readers}
        for _ in range(arguments.repeats):
            for name, read in readers.items():
                figures[name].append(measure(read, rec, idx, arguments.batch_size, np.array(MEAN, 'float32'),
                                             np.array(STD, 'float32')))
    loader, iterator = (statistics.median(pair[place] for pair in figures[name])
                        for name, place in (('Pillow and NumPy, 1 process', 0), ('one ImageRecordIter', 1)))
    print(f'{arguments.images} JPEGs of 500 x 375, {SIDE} px, batch {arguments.batch_size}, {cores} cores, median of '
          f'{arguments.repeats}')
    for name, pairs in figures.items():
        cpu, wall = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
        print('  %-30s per core %5.0f (x%.2f of the loader)   wall %5.0f (x%.2f of one iterator)   (%s)' % (
            name, cpu, cpu / loader, wall, wall / iterator, ', '.join('%.0f/%.0f' % pair for pair in pairs)))


if __name__ == '__main__':
    main()
