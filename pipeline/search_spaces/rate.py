"""The learning rate of gradient descent with momentum, and nothing else: for studies whose arms
each want a rate of their own.
"""

from pipeline import Float, Space

SPACE = Space(knobs={"optimizer.lr": Float(low=3e-3, high=1.0, log=True)})
