"""Tables, verdicts, figures and pages of runs, against the paper's and the published figures."""
