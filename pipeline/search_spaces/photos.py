"""What a run from published weights is sensitive to: which layers learn, learning rate, decay,
augmentation, smoothing, batch.
"""

from pipeline import Choice, Float, Space

REST = {
    "optimizer.weight_decay": Float(low=1e-4, high=0.3, log=True),
    "augment.strength": Float(low=0.0, high=2.0),
    "loss.smoothing": Float(low=0.0, high=0.2),
    "batch_size": Choice(options=(16, 32, 64), ordered=True),
}

SPACE = Space(
    knobs={
        "transfer.train": Choice(options=("all", "last", "head")),
        "optimizer.lr": Float(low=3e-5, high=3e-3, log=True),
        **REST,
    },
    when={"transfer.train": "transfer.weights != ''"},
)

SMALL = Space(knobs={"optimizer.lr": Float(low=3e-4, high=3e-2, log=True), **REST})
"""The same for fresh weights, which want higher rates and learn in all layers."""
