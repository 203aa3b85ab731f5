"""Command lines: arguments in, text or JSON out."""
