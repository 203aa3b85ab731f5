"""What several tests share: makers of records, archives and trees, and small stand-ins."""
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
