"""The paper's classifiers: preprocessing, losses and exact evaluation."""
