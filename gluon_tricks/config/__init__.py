"""What a run is told: its options, once, and the rows of the paper's tables. Standard library only."""
