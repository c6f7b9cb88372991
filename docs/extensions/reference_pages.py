"""What is written down in the code and not twice: commands, public names, schemas."""

import inspect
import json
import re
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from typer.main import get_command

import morelli
from morelli.cli.main import app as command_line


class Written(Directive):
    """Markdown that a subclass writes, read as if it stood on the page."""

    has_content = True

    def lines(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        found = nodes.Element()
        text = StringList(self.lines(), source="")
        self.state.nested_parse(text, self.content_offset, found, match_titles=True)
        return found.children


class Commands(Written):
    """Every command: what it does, its example, arguments and options."""

    def lines(self) -> list[str]:
        found: list[str] = []
        for name, command in sorted(get_command(command_line).commands.items()):
            told, example = said(command.help or "")
            found += [f"## morelli {name}", "", told, ""]
            found += ["```bash", example, "```", ""] if example else []
            found += ["| | |", "|---|---|"]
            hints = get_type_hints(command.callback)
            found += [
                f"| {called(p, hints[p.name])} | {plain(p.help or '')}{default(p)} |"
                for p in command.params
                if p.name in hints
            ]
            found += [""]
        return found


def said(text: str) -> tuple[str, str]:
    """A docstring's words and its example."""
    told, _, example = inspect.cleandoc(text).partition("Example: ")
    return plain(told.strip()), example.strip()


def plain(text: str) -> str:
    """On one line, without what Markdown or a table would take for its own."""
    return re.sub(r"([*_|<>])", r"\\\1", " ".join(text.split()))


def called(parameter: Any, hint: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`" + ("" if parameter.required else ", optional")
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    choices = [option for kind in (hint, *get_args(hint)) if isinstance(kind, type(Enum)) for option in kind]
    among = ": " + ", ".join(f"`{option.value}`" for option in choices) if choices else ""
    return names + (", required" if parameter.required else "") + among


def default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required or value in (None, True, False, "", ()) or callable(value):
        return ""
    return f" *Default {getattr(value, 'value', value)}.*"


class Names(Written):
    """Public names, by the kind that they are, each by autodoc."""

    def lines(self) -> list[str]:
        found: list[str] = []
        values = {name: getattr(morelli, name) for name in morelli.__all__ if name != "__version__"}
        kinds = {"Functions": ("function", inspect.isfunction), "Classes": ("class", inspect.isclass)}
        for title, (kind, holds) in kinds.items():
            found += [f"## {title}", "", "```{eval-rst}"]
            found += [f".. auto{kind}:: morelli.{name}" for name, value in values.items() if holds(value)]
            found += ["```", ""]
        return found


class Schemas(Written):
    """Every JSON schema of the package, as it ships."""

    def lines(self) -> list[str]:
        found: list[str] = []
        for path in sorted(Path(morelli.__file__).parent.rglob("*schema*.json")):
            schema = json.loads(path.read_text())
            found += [f"## {schema.get('title', path.stem)}", "", schema.get("description", ""), ""]
            found += ["```json", *json.dumps(schema, indent=1, ensure_ascii=False).splitlines(), "```", ""]
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    for name, directive in {"commands": Commands, "public-names": Names, "schemas": Schemas}.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
