"""What several tests share: makers of records, archives and trees, and small stand-ins."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SLICE = bool(os.environ.get('SLICE'))  # slow tests take the part that .ci/run has time for
