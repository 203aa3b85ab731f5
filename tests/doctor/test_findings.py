from gluon_tricks.doctor.findings import Finding, told
from gluon_tricks.errors import UsageError


def test_a_usage_error_is_a_finding():
    def wrong(what):
        raise UsageError(f'{what} is wrong: give another')

    assert told('data', wrong, 'it') == [Finding('fails', 'data', 'it is wrong: give another')]
    assert told('data', str, 3) == []
    assert told('data', wrong, 'it')[0].line() == 'fails: it is wrong: give another'
