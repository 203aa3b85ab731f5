"""What can be told before a run: of the environment, the machine, the data, and what the run will take."""
