"""The paper's experiments: its tables as recipes, and the record a run leaves (paper Tables 1 to 7)."""
