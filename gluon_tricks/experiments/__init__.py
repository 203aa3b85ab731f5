"""The paper's experiments: its tables as recipes, and the record a run leaves (paper sections 2 to 5, Tables 1 to 7)."""
