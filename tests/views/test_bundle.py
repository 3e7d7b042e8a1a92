"""The live page's modules as one file."""

from __future__ import annotations

import re
from pathlib import Path

from runners.views.bundle import LIVE, bundle

# A module's name and its exports; imported names and the module that exports them.
MODULE = re.compile(
    r'^"([^"\n]+)": async.*?^return \{ ([^}]*) \};\n\},$', re.MULTILINE | re.DOTALL
)
NEEDED = re.compile(r'const \{([^}]*)\} = await \$need\("(.+?)"')
STATIC = Path(__file__).resolve().parents[2] / "static"


def live_bundle() -> str:
    """Return the bundle of the modules of this checkout."""
    return bundle(LIVE, lambda name: (STATIC / name).read_text())


def test_a_bundle_has_the_modules_without_comments_imports_and_exports() -> None:
    modules = {
        "js/live.js": """\
// Starts the page.

import {
  one, two as other,
} from "./parts/numbers.js";

/** @type {number} */
const sum = /** @type {number} */ (one) + other;
export async function later() {
  const { three } = await import("./parts/later.js");
  return sum + three;
}
""",
        "js/parts/numbers.js": "export const one = 1;\nexport const two = 2;\n",
        "js/parts/later.js": """\
import { one } from "./numbers.js";
const WORKER = new URL("worker.js", import.meta.url);
/** Is a class. */
export class Later {
  /** @param {import("./types.js").Type} one */
  go(one) {}
}
export const three = one + 2;
""",
    }
    assert bundle("js/live.js", modules.__getitem__).partition("$modules = {\n")[2] == (
        """\
"js/live.js": async () => {

const {
one, two: other,
} = await $need("js/parts/numbers.js");
const sum = (one) + other;
async function later() {
const { three } = await $need("js/parts/later.js");
return sum + three;
}
return { later };
},
"js/parts/numbers.js": async () => {
const one = 1;
const two = 2;
return { one, two };
},
"js/parts/later.js": async () => {
const { one } = await $need("js/parts/numbers.js");
const WORKER = new URL("parts/worker.js", import.meta.url);
class Later {
go(one) {}
}
const three = one + 2;
return { Later, three };
},
};
await $need("js/live.js");
"""
    )


def test_the_bundle_of_the_live_page_is_complete() -> None:
    text = live_bundle()
    assert not re.search(r"^(import|export)\b|/\*\*|^ ", text, re.MULTILINE)
    modules = dict(MODULE.findall(text))
    for names, module in NEEDED.findall(text):
        imported = {name.split(":")[0].strip() for name in names.split(",")}
        assert imported - {""} <= set(modules[module].split(", ")), module
