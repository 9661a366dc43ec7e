"""What tests share that are in different rooms."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
