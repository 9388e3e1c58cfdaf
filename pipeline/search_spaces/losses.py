"""The learning rate, up to where squared error's small gradients want it."""

from pipeline import Float, Space

SPACE = Space(knobs={"optimizer.lr": Float(low=3e-3, high=3.0, log=True)})
