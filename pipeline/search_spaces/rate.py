"""The learning rate, and nothing else: for studies whose arms each want a rate of their own, or
that ask about something else than hyperparameters.
"""

from pipeline import Float, Space

SPACE = Space(knobs={"optimizer.lr": Float(low=3e-3, high=1.0, log=True)})
"""Of gradient descent with momentum."""
ADAM = Space(knobs={"optimizer.lr": Float(low=1e-4, high=1e-2, log=True)})
"""Of Adam."""
ADAMW = Space(knobs={"optimizer.lr": Float(low=1e-4, high=0.3, log=True)})
"""Of AdamW, up to what a head alone stands."""
