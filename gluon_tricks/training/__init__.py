"""Algorithm 1 (section 2), and what keeps a training alive."""
