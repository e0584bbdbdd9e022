"""What the report's pages share: the template loader, inline figures, machines in words."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tokenprune import files
from tokenprune.drawing.style import Drawing
from tokenprune.errors import counted
from tokenprune.report.environment import different
from tokenprune.runs import RunFolder

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str) -> "Template":
    """A template of tokenprune/report; it escapes what it is given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    return environment.get_template(name)


def figure(drawing: Drawing) -> dict[str, Any]:
    from markupsafe import Markup, escape

    svg = drawing.inline().replace("<svg", f'<svg role="img" aria-label="{escape(drawing.alt)}"', 1)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])  # type: ignore[index]
    return {
        "name": drawing.name,
        "title": drawing.title,
        "caption": drawing.caption,
        "svg": Markup(svg),
        "wide": round(width / 72 * 6.6, 1),  # rem per inch: text comes out at the size of a caption
    }


def machines(by_run: Mapping[str, dict[str, Any]]) -> list[dict[str, str]]:
    """Each different machine, software and data once. by_run: environment.json by folder name."""
    return [
        {
            "title": f"{_machine(environment)}: {counted(len(runs), 'run')}",
            "runs": f"Made by {_revisions([by_run[run] for run in runs])}: {', '.join(runs)}.",
            "text": yaml.safe_dump(environment, sort_keys=False, allow_unicode=True).rstrip(),
        }
        for environment, runs in different(by_run, ("command", "revision", "start"))
        if environment
    ]


def resolved(folder: RunFolder) -> str | None:
    """resolved.yaml as text; None where it is gone: the numbers do not hang on it."""
    try:
        return files.read_text(folder.resolved).rstrip()
    except (OSError, UnicodeDecodeError):
        return None


def _revisions(environments: Iterable[Mapping[str, Any]]) -> str:
    found = {str(environment["revision"]) for environment in environments if environment.get("revision")}
    return f"revision {', '.join(sorted(found))} of tokenprune" if found else "an unknown revision of tokenprune"


def _machine(environment: dict[str, Any]) -> str:
    packages = environment.get("packages")
    torch = packages.get("torch") if isinstance(packages, dict) else None
    data = environment.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    parts = [environment.get("device"), environment.get("processor"), f"torch {torch}" if torch else None, source]
    return ", ".join(str(part) for part in parts if part) or "not recorded"
