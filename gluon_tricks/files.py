"""Files that are there whole, or not at all."""
import os


def write_whole(path, content, sync=True):
    """Write bytes to a file under another name and rename it, so that a kill or a full disk leaves the old one.

    content: bytes, or a list of them. sync: wait until it is on the disk, so that a power cut leaves it as well. Raises
    OSError.
    """
    partial = '%s.%d.partial' % (path, os.getpid())
    try:
        with open(partial, 'wb') as stream:
            stream.writelines([content] if isinstance(content, bytes) else content)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError:
        if os.path.exists(partial):
            os.remove(partial)  # what room there is, others can use
        raise


def sync(path):
    """Wait until a file, or the names in a directory, are on the disk."""
    handle = os.open(path or '.', os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
