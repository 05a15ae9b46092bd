"""What the documentation site is made of beyond the pages in ``docs/``: a hook of MkDocs.

It adds a page of API reference for every package and module found in the tree, the files at the root
that belong to the site, and the list of decision records. Nothing here names a module, so a package
that is added or moved needs no change.
"""

import ast
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "itrialspace_assets"
#: Files at the root -> pages of the site.
ROOT_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n", 1)[0].replace("\n", " ")


def modules() -> dict[str, Path]:
    """Packages and modules that get a page each: dotted name -> file."""
    found = {}
    for path in sorted(PACKAGE.iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            found[f"{PACKAGE.name}.{path.stem}"] = path
        elif (path / "__init__.py").is_file():
            found[f"{PACKAGE.name}.{path.name}"] = path / "__init__.py"
    return found


def _decisions() -> list[dict[str, str]]:
    pages = []
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
        pages.append({title: f"decisions/{path.name}"})
    return pages


def on_config(config: Any) -> Any:
    """Fill in the two places of ``nav`` that depend on what the tree holds."""
    reference = [{"Modules": "reference/index.md"}, *({n.split(".")[-1]: f"reference/{n}.md"} for n in modules())]
    filled = {"DECISIONS": ["decisions/index.md", *_decisions()], "REFERENCE": reference}
    config.nav = [
        {title: filled.get(at, at) if isinstance(at, str) else at}
        for entry in config.nav
        for title, at in entry.items()
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file below ``docs/`` holds."""
    rows = [f"| [`{name}`]({name}.md) | {_first_line(path).replace('|', '/')} |" for name, path in modules().items()]
    index = "# API reference\n\nMade from the docstrings.\n\n| module | what it is |\n|---|---|\n"
    pages = {"reference/index.md": index + "\n".join(rows) + "\n"}
    pages |= {f"reference/{name}.md": f"# `{name}`\n\n::: {name}\n" for name in modules()}
    for source, target in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, page in ROOT_PAGES.items():
            text = text.replace(f"]({other}", f"]({page}")
        pages[target] = text
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files
