"""The tests, and what they share: tiny checkpoints, fakes, machines, judged sets, the command."""
