"""The command line. Commands are imported when they are called, so that ``labelspace --help`` is quick."""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
import sys
from collections.abc import Sequence
from os.path import expanduser
from pathlib import Path
from typing import Any, NoReturn

from labelspace import errors, surroundings


class _Parser(argparse.ArgumentParser):
    """Errors are one line and exit code 2."""

    late: tuple[str, ...] = ()  # positionals that may be left out: argparse does not look for them behind options

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # also of -2:2 and -1,0, which are no options

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Values are what was written: an empty one is a mistake (a variable that is not set), and -- behind = is a text."""
        if action.nargs != argparse.PARSER and any(not text.strip() for text in arg_strings):
            raise argparse.ArgumentError(action, "expected a value, got an empty one")
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        found, rest = super().parse_known_args(args, namespace)
        for name in self.late:
            if getattr(found, name) is None and rest and not rest[0].startswith("-"):
                setattr(found, name, rest.pop(0))
        return found, rest

    def error(self, message: str) -> NoReturn:
        errors.aside(f"{self.prog}: {_nearest(message)} (see {self.prog} --help)")
        sys.exit(2)

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse would not tell that it could not be written


def _nearest(message: str) -> str:
    """argparse's message about a wrong choice, with the nearest choice instead of all of them."""
    if "invalid choice: " not in message:
        return message
    given = message.split("invalid choice: ")[1].split("'")[1]
    known = [part.strip(" '()") for part in message.split("choose from", 1)[1].split(",")]
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    what = (
        "command" if message.startswith("argument COMMAND") else f"value of {message.split(':')[0].removeprefix('argument ')}"
    )
    return f"unknown {what} {given!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")


def _seed(text: str) -> int:
    return _below(text, 2**32, low=0)


def _count(text: str) -> int:
    """A number of things that take memory; who makes them says what is too few, and what too many."""
    return _below(text, 10**9)


def _rounds(text: str) -> int:
    """How often something is done; who does it says what is too few."""
    return _below(text, 10_001)


def _below(text: str, most: int, low: int | None = None) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if number >= most or (low is not None and number < low):
        raise argparse.ArgumentTypeError(
            f"{text} is out of range; expected {'0 to' if low == 0 else 'less than'} {most - (low == 0):,}"
        )
    return number


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from labelspace import __version__

    top = _Parser(prog="labelspace", description="Every label gets its own latent space.")
    top.add_argument("--version", action="version", version=f"labelspace {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, about: str, run: str) -> _Parser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
        command.add_argument(
            "--plugin",
            type=expanduser,
            action="append",
            default=[],
            metavar="FILE|MODULE",
            help="run this code first: it registers models or data",
        )
        return command

    def overwrites(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--overwrite",
            action="store_true",
            help="also write over a file that the commands did not write, and into a directory that holds other files",
        )

    def edits(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--keep-detail",
            action=argparse.BooleanOptionalAction,
            help="keep what the model could not reconstruct (default: of rows of a table yes, else no)",
        )
        command.add_argument("--out", type=expanduser, help="file to write (image; .npz or .csv for vectors)")
        command.add_argument(
            "--full-size",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="lay the edit of a picture file over it, at its own size (default); else at the size that the model sees",
        )
        overwrites(command)

    def many(command: _Parser) -> None:
        command.late = ("sample", "donor") if command.prog.endswith("transfer") else ("sample",)
        command.add_argument("--data", metavar="ADDRESS", help="instead of one sample: all of a data set")
        command.add_argument("--split", choices=["train", "val", "test"], help="of --data, or of the run's own data")

    def data(command: argparse.ArgumentParser) -> None:
        command.add_argument("--data", metavar="ADDRESS", help="the run's data, where they are elsewhere or were in memory")

    sample = "an image file, or SPLIT:INDEX of the run's data (test:0)"

    c = add("demo", "draw faces, train an LSVAE, edit faces, and print what was achieved", "demo:demo")
    c.add_argument("--out", type=expanduser, default="demo", help="run directory (default: demo)")
    c.add_argument("--seed", type=_seed, default=0)
    c.add_argument("--quick", action="store_true", help="a small fraction of the training, to see that it runs")
    c.add_argument("--resume", action="store_true", help="go on with an interrupted demo, or only measure a finished one")

    c = add("train", "train a model on a data set", "train:train")
    c.add_argument("data", nargs="?", help="data address; labelspace data list prints all")
    c.add_argument("--model", help="model name; labelspace models prints all (default: lsvae)")
    c.add_argument("--labels", help="labels to use, separated by commas (default: all)")
    c.add_argument("--out", type=expanduser, help="run directory (default: runs/MODEL-DATA)")
    c.add_argument("--epochs", type=int, help="passes (default: until the validation score has settled, which is 0)")
    c.add_argument("--steps", type=int, help="the most steps; without --epochs training may be over before")
    c.add_argument("--minutes", type=float, help="the most minutes; without --epochs training may be over before")
    c.add_argument("--seed", type=_seed)
    c.add_argument("--config", type=expanduser, help="config.yaml of another run to take everything from")
    c.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a model argument or training option")
    c.add_argument("--supervision", type=float, metavar="FRACTION", help="hide the labels of all but this fraction of samples")
    c.add_argument("--label-noise", type=float, metavar="FRACTION", help="make this fraction of the labels wrong, as a test")
    c.add_argument("--group", metavar="NAME", help="keep samples that share this (a person, a patient) in one split")
    c.add_argument(
        "--init-from", type=expanduser, metavar="RUN", help="a run or saved model to take every tensor from that fits"
    )
    c.add_argument("--resume", action="store_true", help="go on with the run in --out")
    c.add_argument("--devices", type=int, metavar="N", help="processes on each machine, one a device (default: 1)")
    c.add_argument("--nodes", type=int, metavar="N", help="machines, started by torchrun or srun (default: 1)")
    c.add_argument("--strategy", choices=["auto", "ddp", "fsdp"], help="how several processes share the work (default: ddp)")
    c.add_argument("--accelerator", metavar="NAME", help="cpu, cuda, ... (default: the best that is there)")
    c.add_argument("--tensorboard", action="store_true", help="also write TensorBoard event files")
    c.add_argument(
        "--logger",
        action="append",
        default=[],
        choices=["tensorboard", "wandb", "mlflow"],
        metavar="NAME",
        help="also tell a tracker: tensorboard, wandb or mlflow",
    )
    c.add_argument("--no-report", action="store_true", help="do not write report.html into the run")

    c = add("edit", "set labels of a sample", "edit:edit")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("sample", metavar="IMAGE", nargs="?", help=sample)
    c.add_argument("--set", action="append", default=[], required=True, metavar="LABEL=VALUE")
    c.add_argument("--point", default="typical", choices=["typical", "prior", "draw"], help="where in the label's block")
    c.add_argument("--others", default="keep", choices=["keep", "zero"], help="what becomes of other labels' blocks")
    c.add_argument("--seed", type=_seed, default=0)
    edits(c)
    many(c)

    c = add("transfer", "give a sample a donor's way of having a label", "edit:transfer")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("sample", metavar="IMAGE", nargs="?", help=sample)
    c.add_argument("donor", metavar="DONOR", nargs="?", help=sample)
    c.add_argument("--label", required=True)
    c.add_argument("--donor", dest="donor_option", metavar="IMAGE", help="one donor for many samples: " + sample)
    c.add_argument("--donors", metavar="ADDRESS", help="a donor for each of many samples, drawn from a data set or own split")
    c.add_argument("--seed", type=_seed, default=0, help="of the draw of donors")
    edits(c)
    many(c)

    c = add("move", "put latent blocks at points", "edit:move")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("sample", metavar="IMAGE", nargs="?", help=sample)
    c.add_argument("--to", action="append", default=[], metavar="BLOCK=X,Y,...", help="a block and all of its coordinates")
    edits(c)
    many(c)

    c = add("traverse", "walk through a label's latent block", "edit:traverse")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("sample", metavar="IMAGE", nargs="?", default="test:0", help=sample + " (default: test:0)")
    c.add_argument("--label", required=True)
    c.add_argument(
        "--coordinates", default="", help="one or two, separated by a comma (default: those in which data vary most)"
    )
    c.add_argument("--steps", type=_count, default=7)
    c.add_argument("--span", default="prior", help="prior, data, or LOW:HIGH")
    data(c)
    edits(c)

    c = add("inpaint", "fill a hole in a picture", "edit:inpaint")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("sample", metavar="IMAGE", help=sample)
    c.add_argument("--hole", required=True, metavar="LEFT,TOP,WIDTH,HEIGHT", help="in pixels of the model's images")
    c.add_argument(
        "--rounds", type=_rounds, default=1, help="passes; after the first the filled picture is encoded (default: 1)"
    )
    data(c)
    c.add_argument("--out", type=expanduser, help="file to write (image)")
    overwrites(c)

    c = add("generate", "new samples under labels", "edit:generate")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("--set", action="append", default=[], metavar="LABEL=VALUE")
    c.add_argument("-n", type=_count, default=16)
    c.add_argument(
        "--source", default="codes", choices=["codes", "prior"], help="draw where training codes lie (default), or from priors"
    )
    c.add_argument(
        "--mean",
        action="store_const",
        const=True,
        help="means of what samples with the codes would be; else rows of a table and counts are drawn, as real ones are",
    )
    c.add_argument("--seed", type=_seed, default=0)
    c.add_argument(
        "--out",
        type=expanduser,
        help="a sheet of pictures; or a directory of them, .npz, .csv or .parquet (vectors) with the labels",
    )
    overwrites(c)

    c = add("embed", "write the codes of a data set, block by block", "arrays:embed")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("data", metavar="DATA", help="data address")
    c.add_argument(
        "--out", type=expanduser, required=True, help="file to write: .npz, .parquet, .csv, or .h5ad for cells of h5ad:FILE"
    )
    c.add_argument("--ignore-labels", action="store_true", help="encode as if the data had no labels: codes of x alone")
    c.add_argument("--draw", action="store_true", help="draws of codes, as the decoder gets them, instead of their means")
    c.add_argument("--seed", type=_seed, default=0, help="of the draws")
    overwrites(c)

    c = add("predict", "predict the labels of a data set", "arrays:predict")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("data", metavar="DATA", help="data address")
    c.add_argument("--out", type=expanduser, help=".csv or .parquet file to write (default: CSV on standard output)")
    overwrites(c)

    c = add("data", "list, inspect or build data sets", "data:data")
    c.add_argument("action", choices=["list", "inspect", "build"])
    c.add_argument("address", nargs="?")
    c.add_argument("--labels", help="labels to use, separated by commas (default: all)")
    c.add_argument(
        "--group", default="", metavar="NAME", help="keep samples that share this (a person, a patient) in one split"
    )
    c.add_argument("--seed", type=_seed, default=0)
    c.add_argument("--workers", type=_count, default=0, help="processes that read or draw images (default: one a core)")

    c = add(
        "evaluate",
        "measure everything on a run: edits, leaks, codes, predictions, samples, and a diagnosis",
        "evaluate:evaluate",
    )
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("--data", metavar="ADDRESS", help="other data with the same labels (default: the run's)")
    c.add_argument("--split", default="test", choices=["train", "val", "test"], help="which samples (default: test)")
    c.add_argument("--most", type=int, default=10_000, help="at most so many samples (default: 10,000)")
    c.add_argument("--seed", type=_seed, default=0, help="of the judge, draws and resampling")

    c = add(
        "report",
        "one page of a run: what was trained, curves, edits, maps, measurements; or several side by side",
        "report:report",
    )
    c.add_argument("run_directories", type=expanduser, metavar="RUN", nargs="+", help="a run; several are put side by side")
    c.add_argument("--out", type=expanduser, help="file to write (default: report.html in the run; of several runs, here)")
    overwrites(c)
    c.add_argument("--quick", action="store_true", help="do not measure what edits do to every label")
    data(c)

    c = add("compare", "train models on the same data and compare them: edits by a judge, predictions, time", "compare:compare")
    c.add_argument("data", nargs="?", default="faces", help="data address (default: faces)")
    c.add_argument("--models", default="all", help="names separated by commas; 'classifier' is a plain one (default: all)")
    c.add_argument("--labels", help="labels to use, separated by commas (default: all; of faces Eyeglasses, Beard, Smiling)")
    c.add_argument("--supervision", type=float, default=1.0, metavar="FRACTION", help="hide all other samples' labels")
    c.add_argument("--seeds", type=_rounds, default=1, help="runs of each model, seeds from 0 (default: 1)")
    c.add_argument("--epochs", type=int, help="passes (default: until the validation score has settled)")
    c.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every model that has it")
    c.add_argument("--no-edits", action="store_true", help="compare predictions only")
    c.add_argument(
        "--out",
        type=expanduser,
        default="compared",
        help="directory of runs and results; finished runs are kept (default: compared)",
    )

    c = add("bench", "measure how fast training and use are here, beside hand-written loops and pythae", "bench:bench")
    c.add_argument("--only", metavar="a,b", help="workloads, separated by commas (default: all, a to h; docs/performance.md)")
    c.add_argument("--quick", action="store_true", help="a minute instead of half an hour; the figures mean little")
    c.add_argument("--rounds", type=_rounds, metavar="N", help="rounds of each measurement (default: 7, with --quick 2)")
    c.add_argument(
        "--out", type=expanduser, help="directory of bench-PROCESSOR.json and .md; with --only, others measured alike are kept"
    )

    c = add(
        "reproduce", "run a published claim as a recipe; without a name, list them and their results", "reproduce:reproduce"
    )
    c.add_argument("recipe", nargs="?", metavar="NAME", help="a recipe, or all")
    c.add_argument("--scale", default="cpu", choices=["smoke", "cpu", "paper"], help="seconds; an hour; or the published size")
    c.add_argument("--data", metavar="ADDRESS", help="other data than the recipe's own, or data that it needs (mnist:DIR)")
    c.add_argument("--out", type=expanduser, default="reproduced", help="directory of results (default: reproduced)")
    c.add_argument(
        "--runs", type=expanduser, default="reproduced/runs", help="directory of runs, kept (default: reproduced/runs)"
    )
    c.add_argument("--workers", type=_count, default=0, help="runs at a time (default: one a core, at most four)")
    c.add_argument("--only", default="", metavar="WORDS", help="do only runs described by these words: 'csvae seed 0'")
    c.add_argument(
        "--known",
        type=expanduser,
        action="append",
        default=[],
        metavar="FILE",
        help="a results.json: its runs count, are not made again, and are in no picture of models",
    )

    c = add("explore", "explore a run in the browser", "explore:explore")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    data(c)
    c.add_argument("--host", default="127.0.0.1", help="address to listen on; others than this machine's own need --token")
    c.add_argument("--port", type=int, help="port to listen on (default: the first that is free from 8080 on)")
    c.add_argument("--token", default="", help="a secret that browsers have to know")
    c.add_argument("--root-path", default="", metavar="PATH", help="the path below which a proxy shows it, such as /lab")
    c.add_argument(
        "--forwarded-allow-ips",
        default="",
        metavar="IPS",
        help="proxies whose X-Forwarded headers count (* is all)",
    )
    c.add_argument("--tabs", type=_rounds, default=64, help="most tabs that are kept; the one not used for longest rests (64)")
    c.add_argument("--frames", action="store_true", help="let notebooks of this machine show it in a frame")
    c.add_argument("--no-browser", action="store_true", help="only print the address")
    c.add_argument(
        "--with-input", action="store_true", help="end when standard input does, as a program needs that starts this"
    )

    c = add("export", "write a model as a folder for a model hub, as ONNX graphs, or as a page", "export:export")
    c.add_argument("run_directory", type=expanduser, metavar="RUN")
    c.add_argument("--to", required=True, choices=["hub", "onnx", "page"])
    c.add_argument("--out", type=expanduser, required=True, metavar="PATH", help="directory to write, or page.html")
    c.add_argument("--license", default="", help="of the weights, for the model card (hub)")
    c.add_argument("--push", default="", metavar="OWNER/NAME", help="also upload the folder to the Hugging Face hub (hub)")
    c.add_argument("--private", action="store_true", help="make what is uploaded private (hub)")
    c.add_argument("--runtime", type=expanduser, default="", metavar="DIR", help="where npm put onnxruntime-web (page)")
    overwrites(c)

    add("models", "what each model is for, and when not to use it", "models:models")

    c = add("explain", "what a term of a log, a table or a report means; without one, all of them", "explain:explain")
    c.add_argument("terms", nargs="*", metavar="TERM", help="a loss term, a column, a metric, a setting: kl_w, DCI, floor")
    c.add_argument("--markdown", action="store_true", help="print all as a page, docs/glossary.md")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code.

    0, 1 (training diverged or lost a process), 2 (a user's mistake, or something that the machine does not give), 130 or 143
    (asked to end). Whatever goes wrong outside this program is one line on standard error.
    """
    given = argparse.Namespace(command="")
    try:
        try:
            given = parser().parse_args(arguments)
            given.words = list(sys.argv[1:] if arguments is None else arguments)
            _run(given)
        finally:
            if sys.stdout is not None and not sys.stdout.closed:
                sys.stdout.flush()  # while it can still be told that it could not be written
    except KeyboardInterrupt as error:
        errors.aside(f"labelspace {given.command}: {str(error) or 'interrupted'}")
        return 128 + getattr(error, "signal", 2)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and error.filename in (None, surroundings.STREAMS[1]):
            return 0  # the reader of our output went away (head, less)
        said = errors.told(error)
        if said is None:
            raise
        errors.aside(f"{f'labelspace {given.command}'.rstrip()}: {said}")
        return 1 if isinstance(error, errors.DivergedError | errors.LostError) else 2
    finally:
        surroundings.leave()
    return 0


def _run(given: argparse.Namespace) -> None:
    from labelspace import plugins
    from labelspace.commands import outputs

    for name in ("set", "label", "labels", "group"):  # what names something in the data; names of files stay as they came
        if found := getattr(given, name, None):
            setattr(
                given, name, surroundings.letters(found) if isinstance(found, str) else list(map(surroundings.letters, found))
            )
    module, function = given.run.split(":")
    with errors.for_command():
        _early(given)
        surroundings.check_room()
        for where in given.plugin:
            plugins.load(where)
        outputs.check(given)
        with outputs.remembering(given):
            getattr(importlib.import_module(f"labelspace.commands.{module}"), function)(given)


def _early(given: argparse.Namespace) -> None:
    """Refuses what can be told to be wrong before anything large is imported: a run that is not there, labels that it lacks.

    ``demo:NAME`` is replaced by the directory that it stands for. What cannot be read here is left to those who read it.
    """
    from labelspace.storage import files

    home = getattr(given, "run_directory", None)
    if home is None or home.startswith("hf:"):
        return
    if home.startswith("demo:"):
        from labelspace.storage import starters

        home = given.run_directory = str(starters.fetch(home))
    if not Path(home).is_dir():
        raise errors.UserError(f"no such directory: {home}")
    try:
        files.contained(Path(home), ("schema.json",))
        names = [str(row["name"]) for row in files.read_json(Path(home) / "schema.json")["labels"]]
    except (errors.UserError, KeyError, TypeError):
        return
    asked = [text.partition("=")[0].strip() for text in getattr(given, "set", None) or () if "=" in text]
    label = getattr(given, "label", None)
    for name in [*asked, *([label] if label else [])]:
        if name not in names:
            raise errors.unknown("label", name, names)


def run() -> NoReturn:
    """Entry point of the ``labelspace`` program."""
    surroundings.prepare()
    sys.exit(main())


if __name__ == "__main__":
    run()
