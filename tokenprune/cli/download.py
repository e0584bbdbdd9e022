"""`tokenprune download`: public images into the data folder."""

import typer

from tokenprune.cli.interrupt import at_once
from tokenprune.cli.options import DataDir, Source


def download(source: Source, data_dir: DataDir = None) -> None:
    """Download a data set and print where it went.

    Example: tokenprune download cifar10
    """
    with at_once():
        from tokenprune import data

    typer.echo(data.download(source, data_dir))
