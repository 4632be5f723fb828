"""pretrain: let the backbone learn from the catalogue's own images, without labels."""

from __future__ import annotations

from pathlib import Path

import click

from .group import Options, cli, json_option, pass_options
from .output import Reporter, print_json, say


@cli.command()
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: trunk.safetensors beside plugins.toml]",
)
@click.option("--epochs", metavar="N", type=click.IntRange(1, 10_000), help="Epochs.  [default: training -> epochs]")
@click.option("--images", metavar="N", type=click.IntRange(4), help="Learn from a sample of N images.  [default: all]")
@json_option
@pass_options
def pretrain(options: Options, out: Path | None, epochs: int | None, images: int | None, as_json: bool) -> None:
    """Learn trunk weights from the catalogue's own images, without labels.

    Reads the images of the train split only and starts from what [trunk] weights says. The file is used once
    plugins.toml names it; nothing that is live changes before. Run it again after a kill and it goes on.
    """
    with options.workspace() as workspace, Reporter() as reporter:
        catalog = workspace.catalog  # before torch, so that a wrong database is refused at once
        from ..sync.pretrain import pretrain_trunk

        settings = workspace.settings
        out = out or settings.folder / "trunk.safetensors"
        report = pretrain_trunk(
            catalog, settings, workspace.declared, out, epochs=epochs, images=images, progress=reporter
        )
    if as_json:
        print_json(report)
    else:
        click.echo(report.toml)
        for image, reason in report.quarantined:
            say(f"quarantined {image}: {reason}")
        say(
            f"{report.file}: {report.backbone} learnt from {report.images} images in {report.epochs} epochs and "
            f"{report.seconds:.0f} s ({report.method}, begun with weights {report.begun_with}); on {report.held_out} "
            f"held-out images its loss is {report.loss:.2f} and its embeddings' spread {report.spread:.2f}"
        )
        say(
            f"put the two lines above into {settings.folder / 'plugins.toml'} and run "
            "`attributree sync-catalog`: every branch will be grown anew on it"
        )
    options.held_back(bool(report.quarantined))
