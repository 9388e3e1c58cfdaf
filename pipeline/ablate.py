"""`python -m pipeline.ablate --study hw3`: the study's arms with replicates, then the report."""

from collections.abc import Sequence

from pipeline.screen import steadily
from pipeline.session.cli import derived, guarded, options, parser


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(
        "pipeline.ablate",
        "Train the study's arms with replicates and write the report.",
        trains=True,
    )
    derived(flags, "train")
    asked = options(flags, argv)
    if argv is not None:  # called by another program
        from pipeline.session.guest import call

        return call(asked.command, argv)
    from pipeline.session.session import conduct

    return conduct(asked, with_search=False)


if __name__ == "__main__":
    guarded(main)
