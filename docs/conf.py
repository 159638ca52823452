"""The site: ``make docs`` builds it from these pages into ``docs/_build/html``.

Pages are the Markdown files beside this one. Those in ``tutorials/`` are notebooks, whose cells run when the site is built;
``LABELSPACE_DOCS_RUN=off`` builds it without running them. Nothing on the site is loaded from elsewhere: equations are MathML.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import labelspace  # noqa: E402
from labelspace import cli  # noqa: E402

project = "labelspace"
author = "the labelspace developers"
project_copyright = f"{author}, Apache-2.0"
version = release = labelspace.__version__

DRAFT = os.environ.get("LABELSPACE_DOCS_RUN") == "off"  # as tests build it: in seconds, without outputs and pages of source

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", *([] if DRAFT else ["sphinx.ext.viewcode"])]
suppress_warnings = ["myst-nb.lexer"] if DRAFT else []  # which language cells are in is known once they have run
exclude_patterns = ["_build"]
highlight_language = "none"  # a block without a language is a command, or what one prints

html_theme = "furo"
html_title = "labelspace"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 4

html_math_renderer = "mathml"

nb_execution_mode = "off" if DRAFT else "cache"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 3600  # seconds a cell; machines may be busy
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # with tables
os.environ |= {"LABELSPACE_QUIET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}  # of the notebooks' kernels

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
viewcode_line_numbers = True


class Commands(SphinxDirective):
    """Every command with its options, as ``--help`` has them."""

    def run(self) -> list[nodes.Node]:
        top = cli.parser()
        (commands,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
        text = [part for name, command in commands.choices.items() for part in described(name, command)]
        return self.parse_text_to_nodes("\n".join(text), allow_section_headings=True)


def described(name: str, command: argparse.ArgumentParser, depth: int = 2) -> list[str]:
    """A command as Markdown."""
    lines = [f"{'#' * depth} {name}", "", escaped(command.description or ""), ""]
    rows = []
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child, parser in action.choices.items():
                lines += described(f"{name} {child}", parser, depth + 1)
        elif action.help and action.help != argparse.SUPPRESS and action.dest != "help":
            given = " ".join([", ".join(action.option_strings), *([] if action.nargs == 0 else [metavar(action)])]).strip()
            about = action.help % {**vars(action), "prog": command.prog}
            rows.append(f"| `{given}` | {escaped(about)} |".replace("\n", " "))
    return [*lines, "", "| argument | meaning |", "|---|---|", *rows, ""] if rows else lines


def metavar(action: argparse.Action) -> str:
    """What stands for an argument's value, ``|`` escaped for a table."""
    shown = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper())
    return (" ".join(shown) if isinstance(shown, tuple) else shown).replace("|", r"\|")


def escaped(text: str) -> str:
    """Text of the terminal, with what Markdown would read otherwise taken literally."""
    return "".join(f"\\{letter}" if letter in "|<>*_`[]$~" else letter for letter in text)


def inline_math(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_math(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def completed(app: Sphinx, page: str, source: list[str]) -> None:
    """What pages lack that are also read outside of the site, and pages that lie in the root of the repository."""
    if page in ("changelog", "contributing", "security"):
        file = HERE.parent / f"{page.upper()}.md"
        app.env.note_dependency(str(file))
        source[0] = file.read_text("utf-8").replace("](docs/", "](")
    up = "../" * page.count("/")
    source[0] = re.sub(
        r"\]\((?:\.\./)*(CHANGELOG|CONTRIBUTING|SECURITY)\.md", lambda found: f"]({up}{found[1].lower()}.md", source[0]
    )
    if page.startswith("evidence/") and not source[0].startswith("# "):
        source[0] = f"# {page.removeprefix('evidence/').replace('-', ' ').capitalize()}\n\n{source[0]}"
    if page == "models":  # the pages that its table names are below it
        below = dict.fromkeys(re.findall(r"^\| \[.*?\]\((.*?)\.md\)", source[0], re.M))
        source[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(below) + "\n```\n"


def setup(app: Sphinx) -> None:
    app.connect("source-read", completed)
    app.add_directive("commands", Commands)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
