"""Training: strategies as lists of phases, one loop under Accelerate, a state that a killed run goes on from.

`toolkit.training.run.train` is the entry; `toolkit.training.settings` imports no PyTorch.
"""
