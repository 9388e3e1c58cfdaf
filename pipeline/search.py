"""`python -m pipeline.search --study hw3`: search, then the study's arms, then the report."""

from collections.abc import Sequence

from pipeline.screen import steadily
from pipeline.session.cli import guarded, options, parser


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(
        "pipeline.search",
        "Search the study's space, train its arms with replicates, write the report. Run again, it "
        "goes on where it was.",
        trains=True,
        searches=True,
    )
    asked = options(flags, argv)
    if argv is not None:  # called by another program
        from pipeline.session.guest import call

        return call(asked.command, argv)
    from pipeline.session.session import conduct

    return conduct(asked, with_search=True)


if __name__ == "__main__":
    guarded(main)
