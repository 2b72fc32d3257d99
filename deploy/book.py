"""A preprocessor of mdbook's: links of a page to what is not in the book.

Pages link to other files of the repository, and what is included from the README links as from there. Files that have a page become
links to it; others become links to PLDNS_SOURCE where that is set (a repository's address, as for a release), else their text alone.
A link to a file that does not exist fails.
"""

import json
import os
import re
import sys

PAGES = {"README.md": "quick-start.md", "SECURITY.md": "security.md", "config/pldns.toml": "reference.md#the-settings-file-with-every-key"}
LINK = re.compile(r"\[((?:[^][]|`[^`]*`)*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def target(path):
    """The link to a file of the repository, named from its root; `None` where there is nothing to link to."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in PAGES:
        return PAGES[path]
    source = os.environ.get("PLDNS_SOURCE")
    return f"{source}/blob/HEAD/{path}" if source else None


def rewrite(content):
    def link(found):
        text, path, fragment = found[1], found[2], found[3] or ""
        if ":" in path or (not path.startswith("../") and os.path.exists("docs/" + path)):
            return found[0]
        # From docs/, or from the root where the page includes a file that is there.
        inside = os.path.normpath("docs/" + path) if path.startswith("../") else path
        if not os.path.exists(inside):
            sys.exit(f"a link to {path}, which does not exist")
        where = target(inside)
        return f"[{text}]({where}{fragment if '#' not in where else ''})" if where else text

    # Links inside code stay as they are.
    parts = re.split(r"(^ *```.*?^ *```$)", content, flags=re.M | re.S)
    return "".join(part if part.lstrip().startswith("```") else LINK.sub(link, part) for part in parts)


def walk(items):
    for item in items:
        if chapter := isinstance(item, dict) and item.get("Chapter"):
            chapter["content"] = rewrite(chapter["content"])
            walk(chapter["sub_items"])


if sys.argv[1:2] != ["supports"]:
    _, book = json.load(sys.stdin)
    walk(book["items"])
    json.dump(book, sys.stdout)
