"""The options of a run, each once, and the rows of the paper's tables. Standard library only."""
