"""What the library logs: nothing on the console by itself, and in a program what the file holds, byte for byte."""
import fcntl
import logging
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from gluon_tricks.commands.console import console
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.training.run_log import Record
from support import ROOT

LINES = ['100 % of a line', 'Warning: a line', 'two\nlines', 'Gr\xfc\xdfe']


@pytest.fixture
def record(tmp_path):
    record = Record(TrainConfig(save_dir=str(tmp_path)))
    yield record
    record.close()


def log_of(record):
    with open(os.path.join(record.save_dir, 'train_imagenet.log'), 'rb') as stream:
        return stream.read()


def test_the_library_prints_nothing_and_a_handler_gets_each_line(record, caplog, capfd):
    for level, number in ((logging.INFO, 4), (logging.WARNING, 1)):
        caplog.clear()
        with caplog.at_level(level, 'gluon_tricks'):
            for line in LINES:
                record.line(line)
        assert [each.getMessage() for each in caplog.records] == (LINES if number == 4 else LINES[1:2])
    assert capfd.readouterr() == ('', '')
    assert log_of(record).decode() == 2 * ''.join(line + '\n' for line in LINES)


def test_a_programs_console_has_what_the_file_has_once(record, capfd):
    logger, root = logging.getLogger('gluon_tricks'), logging.StreamHandler(sys.stdout)
    before = logger.level, logger.propagate, list(logger.handlers)
    logging.getLogger().addHandler(root)  # as a library may
    try:
        with console():
            for line in LINES:
                record.line(line)
    finally:
        logging.getLogger().removeHandler(root)
    assert capfd.readouterr().out.encode() == log_of(record)
    record.line('after')
    assert capfd.readouterr() == ('', '') and (logger.level, logger.propagate, logger.handlers) == before


def drawn(tmp_path, stdout):
    """(what a program with a progress bar writes to stdout, and to its terminal), whose lines are in the log too."""
    code = (f'import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom gluon_tricks.commands.console import console\nfrom '
            'gluon_tricks.config.classification import TrainConfig\nfrom gluon_tricks.training.run_log import '
            f'Record\nrecord = Record(TrainConfig(save_dir={str(tmp_path)!r}))\nwith console():\n    '
            'record.line("before the bar")\n    record.begin_run(10, 0)\n    record.begin_epoch(0, 5)\n    '
            'record.progress(update=1, lr=0.1)\n    record.line("above the bar")\n    record.line("100 % of '
            'it")\nrecord.close()\n')
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, '-c', code], stdout=theirs if stdout is None else stdout, stderr=theirs,
                               stdin=subprocess.DEVNULL)
    os.close(theirs)
    printed, shown = process.stdout.read() if process.stdout else b'', b''
    while True:
        try:
            block = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            block = b''
        if not block:
            break
        shown += block
    os.close(ours)
    assert process.wait() == 0, shown
    return printed, shown


def test_lines_go_above_the_bar(tmp_path):
    printed, shown = drawn(tmp_path / 'piped', subprocess.PIPE)
    log = (tmp_path / 'piped' / 'train_imagenet.log').read_bytes()
    assert printed == log == b'before the bar\nabove the bar\n100 % of it\n' and b'epoch 0:' in shown
    shown = drawn(tmp_path / 'terminal', None)[1]
    # each line begins where the bar was wiped out
    assert b'before the bar\r\n' in shown and b'\rabove the bar\r\n' in shown and b'\r100 % of it\r\n' in shown
