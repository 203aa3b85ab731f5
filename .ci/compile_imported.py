"""Import all that the package imports, anywhere in it, so that Python writes its byte code: the end of `make .venv`.

Without byte code every start compiles MXNet and GluonCV anew. It is written here even where PYTHONDONTWRITEBYTECODE
is set, as it often is in containers: no start would write it there. pip's own compiling takes every module of every
package, many times as long.
"""
import ast
import contextlib
import importlib
import itertools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BY_FORMAT = [('matplotlib.backends.backend_svg', [])]  # imported by the format of a picture's file


def imported_by(source):
    """[(module, names)] of the imports in a Python source, those inside functions included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node.module, [alias.name for alias in node.names]))
    return found


def import_all(pairs):
    """Import modules, and those of the names that are modules as well; what is not installed is left out."""
    sys.dont_write_bytecode = False
    for module, names in pairs:
        with contextlib.suppress(ImportError):
            package = importlib.import_module(module)
            for name in names:
                if not hasattr(package, name):
                    importlib.import_module(f'{module}.{name}')


def main():
    """Import, saying what, and print what a run records of its environment."""
    sys.path.insert(0, str(ROOT))
    print('byte code: MXNet', flush=True)
    import_all([('gluon_tricks.compat', [])])  # first: it sets MXNet up, and says what is missing
    print('byte code: the package', flush=True)
    own = sorted(path for path in (ROOT / 'gluon_tricks').rglob('*.py') if not path.name.startswith('__'))
    import_all(('.'.join(path.relative_to(ROOT).with_suffix('').parts), []) for path in own)
    for room, paths in itertools.groupby(own, lambda path: path.relative_to(ROOT).parts[1]):
        print(f'byte code: what gluon_tricks/{room} imports', flush=True)
        for path in paths:
            import_all(imported_by(path.read_text(encoding='utf-8')))
    import_all(BY_FORMAT)
    print(sys.modules['gluon_tricks.compat'].environment())


if __name__ == '__main__':
    main()
