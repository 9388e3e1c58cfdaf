"""Each optimizer's own learning rate, two decades and a half around what it is usually run at: no
two of them mean the same by it.
"""

from pipeline import Float, Space

RATES = {
    "sgd": Float(low=3e-3, high=1.0, log=True),
    "adagrad": Float(low=1e-3, high=0.3, log=True),
    "rmsprop": Float(low=1e-4, high=3e-2, log=True),
    "adam": Float(low=1e-4, high=3e-2, log=True),
    "adamw": Float(low=1e-4, high=3e-2, log=True),
    "radam": Float(low=1e-4, high=3e-2, log=True),
}

SPACE = Space(branches={"optimizer": {name: {"lr": rate} for name, rate in RATES.items()}})
