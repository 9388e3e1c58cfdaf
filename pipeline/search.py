"""`python -m pipeline.search --study hw3`: search, then the study's arms, then the report."""

from collections.abc import Sequence

from pipeline.screen import steadily
from pipeline.session.cli import guarded, parser


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(
        "pipeline.search",
        "Search the study's space, train its arms with replicates, write the report. Run again, it "
        "goes on where it was.",
        trains=True,
        searches=True,
    )
    args = flags.parse_args(argv)
    args.command = "pipeline.search"
    if argv is not None:  # called by another program
        from pipeline.session.guest import call

        return call(args.command, argv)
    from pipeline.session.session import conduct

    return conduct(args, with_search=True)


if __name__ == "__main__":
    guarded(main)
