"""The devices of a process, and the workers of a training."""
