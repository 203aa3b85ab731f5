"""Unpacking an archive into a tree that appears when it is whole and was found to be right."""
import hashlib
import json
import os
import shutil

from tqdm import tqdm

from gluon_tricks.data.prepare import archives
from gluon_tricks.data.records.pool import ordered
from gluon_tricks.data.records.work_directory import parts
from gluon_tricks.errors import UsageError
from gluon_tricks.files import remedy_for, sync, write_whole

_TASK = 64  # files that a process writes in one go


def extract(members, out, name, check, describe, source, processes=1):
    """Write {path below OUT: source} and OUT/NAME.certificate.json; returns the certificate's facts.

    check: function(folder, processes) that looks at the finished tree and returns facts about it, or raises UsageError.
    describe: function(facts) -> lines that tell what is there; a certificate for which it fails is not taken. source:
    facts about the archives. The files lie in OUT/NAME.parts until all are there and checked; then their first folders
    are moved to OUT, the certificate last. A kill at any point loses a few files. What is there already, from the same
    members, is kept. Raises UsageError where a folder of OUT is in the way, or nothing can be written; what the check
    refuses is not kept, so that nothing of it is taken for good the next time.
    """
    _check_tree(members)
    certificate = os.path.join(out, name + '.certificate.json')
    plan = hashlib.sha256(repr((name, sorted(source.items()), sorted(
        (path, archives.size_of(member)) for path, member in members.items()), _times(members, source))).encode()
                          ).hexdigest()
    tops = sorted({path.split('/')[0] for path in members})
    try:
        facts = _done(certificate, plan, describe)
        if facts and all(os.path.isfile(os.path.join(out, path)) for path in members):
            shutil.rmtree(os.path.join(out, name + '.parts'), ignore_errors=True)  # a kill may have left it
            return facts
        with parts(os.path.join(out, name + '.parts'), plan, os.path.join(out, name)) as folder:
            whole = os.path.join(folder, 'whole')
            if not os.path.exists(whole):
                for top in tops:
                    if os.path.exists(os.path.join(out, top)):
                        raise UsageError(f'{os.path.join(out, top)} is there already, and not from these archives: '
                                         'move it away, or choose another --out')
                _write_all(members, os.path.join(folder, 'tree'), name, processes)
                try:
                    facts = dict(check(os.path.join(folder, 'tree'), processes), source=source, plan=plan)
                except UsageError:
                    shutil.rmtree(os.path.join(folder, 'tree'))
                    raise
                os.sync()  # the files were left to the system; after the certificate a power cut must find them
                write_whole(whole, (json.dumps(facts, indent=1, sort_keys=True) + '\n').encode())
            for top in tops:
                if os.path.isdir(os.path.join(folder, 'tree', top)):
                    os.rename(os.path.join(folder, 'tree', top), os.path.join(out, top))
            with open(whole, 'rb') as stream:
                write_whole(certificate, stream.read())
            sync(out)
        return _done(certificate, plan, describe)
    except OSError as error:
        raise UsageError('%s cannot be written (%s): %s; the same command resumes where it stopped'
                         % (out, error.strerror or error, remedy_for(error))) from error


def _check_tree(members):
    """Raise UsageError where a member is a file and, for another, a folder."""
    folders = {path[:place] for path in members for place, character in enumerate(path) if character == '/'}
    for path in sorted(folders & set(members)):
        raise UsageError(f'the archive holds {path} as a file and as a folder: it is not the official one')


def _times(members, source):
    """When the archives were written, of those whose digest is not known: another content may have the same sizes."""
    unknown = {name for name, digest in source.items() if digest is None}
    paths = {member.path for member in members.values() if hasattr(member, 'path')}
    return sorted((path, os.stat(path).st_mtime_ns) for path in paths if os.path.basename(path) in unknown)


def _done(certificate, plan, describe):
    try:
        with open(certificate) as stream:
            facts = json.load(stream)
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and facts.get('plan') == plan and _is_described(describe, facts) else None


def _is_described(describe, facts):
    """Whether the facts are such as the check returns: `describe` finds in them what it tells."""
    try:
        describe(facts)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # JSON holds NaN and Infinity as well
        return False
    return True


def _write_all(members, folder, name, processes):
    entries = sorted(members.items(), key=lambda entry: archives.where(entry[1]))
    for directory in sorted({os.path.dirname(os.path.join(folder, path)) for path in members}):
        os.makedirs(directory, exist_ok=True)
    tasks = [(folder, entries[at:at + _TASK]) for at in range(0, len(entries), _TASK)]
    with tqdm(total=len(entries), desc=name, unit='file') as bar:
        for number in ordered(write_files, tasks, min(processes, len(tasks))):
            bar.update(number)


def write_files(folder, entries):
    """Write [(path, source)] below the folder, but what is there; returns how many they are."""
    for path, source in entries:
        target = os.path.join(folder, path)
        # Written whole or not at all; the size tells a file that a power cut emptied.
        if not os.path.isfile(target) or os.path.getsize(target) != archives.size_of(source):
            write_whole(target, archives.read(source), sync=False)
    return len(entries)
