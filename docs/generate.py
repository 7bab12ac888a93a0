"""Makes the documents that would otherwise go stale: `python -m docs.generate` writes them, `--check` fails where one
differs.

- `docs/openapi.json`: from the application;
- `docs/settings.md`: from `recalld/core/config.py`;
- the figures in README.md and `docs/plots/*.svg`: from `bench/results/*.json`.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from api.app import create_app
from bench.plots import plots
from bench.tables import figures
from recalld.bootstrap import Service
from recalld.core.config import load_settings, settings_table

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
SETTINGS_HEAD = """# Settings

Made by `make docs` from `recalld/core/config.py`. In `recalld.toml` the names are in lower case without the prefix.

"""


def documents() -> dict[Path, str]:
    """Every generated document, as it should be."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    results = ROOT / "bench" / "results"
    drawn = plots(results)
    return {
        ROOT / "docs" / "openapi.json": openapi(),
        ROOT / "docs" / "settings.md": SETTINGS_HEAD + settings_table() + "\n",
        **{ROOT / "docs" / "plots" / f"{plot.name}.svg": plot.svg for plot in drawn},
        ROOT / "README.md": f"{head}{BEGIN}\n{figures(results, drawn)}{END}{tail}",
    }


def openapi() -> str:
    """The OpenAPI document of the application, as text."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder) / "data", models_dir=Path(folder) / "models", encoder="hash")
        service = Service(settings)
        try:
            return json.dumps(create_app(service).openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        finally:
            service.close()


def main() -> int:
    """Write the documents, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where one differs")
    check = parser.parse_args().check
    stale = [path for path, text in documents().items() if not path.exists() or path.read_text("utf-8") != text]
    if check:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `make docs`\n")
        return 1 if stale else 0
    for path, text in documents().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
