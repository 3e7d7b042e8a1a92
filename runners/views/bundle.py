"""Makes one file of a page's modules: each request costs a round trip over HTTP/1.1.

Written here because our modules have one form of import and export (checked by the
tests): a bundler from npm would be a program of ten megabytes in every installation.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

# The live page's script, and the file with it and all modules that it imports.
LIVE = "js/live.js"
LIVE_BUNDLE = "js/live.bundle.js"
# `import … from "./x.js";`, on one or more lines, but not in type comments.
IMPORT = re.compile(
    r'^import \{(?P<names>[^}]*)\} from "(?P<file>\.[^"]+)";', re.MULTILINE
)
LATER = re.compile(r'\bimport\("(\.[^"]+)"\)')
EXPORT = re.compile(
    r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE
)
COMMENT = re.compile(
    r"^\s*//.*\n|^\s*/\*\*(?:[^*]|\*(?!/))*\*/\n|/\*\* @type [^*]*\*/ ?", re.MULTILINE
)
INDENT = re.compile(r"^ +", re.MULTILINE)
OWN_URL = re.compile(r'new URL\("([^"]+)", import\.meta\.url\)')

RUNTIME = """\
const $loaded = {};
const $need = (name) => ($loaded[name] ??= $modules[name]());
const $modules = {
%s};
await $need("%s");
"""


def bundle(entry: str, read: Callable[[str], str]) -> str:
    """Return one module with `entry` and all modules that it imports, now or later.

    `read` returns the text of a module. A module runs when it is first imported, in a
    scope of its own; the bundle has to be in the folder of the entry.
    """
    folder = posixpath.dirname(entry)
    found = {entry: ""}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        found[name], imported = _function(name, read(name), folder)
        new = [other for other in imported if other not in found]
        waiting += new
        found |= dict.fromkeys(new, "")
    functions = "".join(f'"{name}": {code},\n' for name, code in found.items())
    return RUNTIME % (functions, entry)


def _function(name: str, text: str, folder: str) -> tuple[str, list[str]]:
    """Return a module as a function that returns its exports, and what it imports."""
    imported = []

    def absolute(path: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))

    def module(path: str) -> str:
        imported.append(absolute(path))
        return imported[-1]

    def need(match: re.Match[str]) -> str:
        names = match["names"].replace(" as ", ": ")
        return f'const {{{names}}} = await $need("{module(match["file"])}");'

    def own_url(match: re.Match[str]) -> str:
        path = posixpath.relpath(absolute(match[1]), folder)
        return f'new URL("{path}", import.meta.url)'

    # Comments first, because those about types have imports too.
    text = INDENT.sub("", COMMENT.sub("", text))
    exported = ", ".join(EXPORT.findall(text))
    text = IMPORT.sub(need, EXPORT.sub("", text))
    text = LATER.sub(lambda match: f'$need("{module(match[1])}")', text)
    text = OWN_URL.sub(own_url, text)
    return f"async () => {{\n{text}return {{ {exported} }};\n}}", imported
