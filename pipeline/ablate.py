"""`python -m pipeline.ablate --study hw3`: the study's arms with replicates, then the report."""

from collections.abc import Sequence

from pipeline.screen import steadily
from pipeline.session.cli import guarded, options, parser


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(
        "pipeline.ablate",
        "Train the study's arms with replicates and write the report.",
        trains=True,
    )
    flags.add_argument(
        "--path",
        action="store_true",
        help="train the way from the baseline to the best configuration of the recorded search "
        "instead, one change after another, as a study of its own (NAME-path); its report again: "
        "pipeline.report --study NAME --path",
    )
    asked = options(flags, argv)
    if argv is not None:  # called by another program
        from pipeline.session.guest import call

        return call(asked.command, argv)
    from pipeline.session.session import conduct

    return conduct(asked, with_search=False)


if __name__ == "__main__":
    guarded(main)
