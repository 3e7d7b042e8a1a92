"""Error and close codes agree in the code and in all documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from runners.live import close_codes
from tests.api.documents import Document
from tests.api.frames import Action, messages
from tests.servers import ROOT

ARROWS: dict[Action, str] = {"receive": "=>", "send": "<-"}
CODE = re.compile(r"[a-z]+\.[a-z_]+")
# Texts that only look like codes: files, modules, and types of messages of ASGI, the
# layer and webhooks.
NO_CODE = re.compile(
    r".+\.(css|csv|gpx|html|ico|js|json|mjs|pmtiles|py|ts|txt|webmanifest|xml|svg|pem)"
    r"|(allauth|daphne|django|http|hub|lifespan|runners|spectate|tests|uvicorn)\..+"
    r"|(websocket|whitenoise)\..+"
    r"|runner\.(late|note|position)"
    r"|entry\.(started|split|finished|out|off_course|silent|changed)|sos\.(opened|withdrawn)"
)
# Codes that are not for programs: replies to forms of pages, and reasons on the desk.
OF_PAGES = {
    *("account.required", "alerts.limit", "mail.limit", "mail.off"),
    *("mail.suppressed", "push.invalid", "push.limit"),
}
OF_THE_DESK = {
    *("invitation.used", "message.encrypted", "owner.last", "role.held"),
    "token.ended",
}


def codes_of_the_code() -> set[str]:
    """Return the texts of `runners/` that are error codes."""
    found = set()
    for path in (ROOT / "runners").rglob("*.py"):
        if path.name == "error_codes.py":
            # The documents are made from this.
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                if CODE.fullmatch(text) and not NO_CODE.fullmatch(text):
                    found.add(text)
    return found


def codes_of(document: Document) -> set[str]:
    """Return the error codes of all enumerations and constants."""

    def values(value: Any) -> Iterator[str]:
        if isinstance(value, list):
            for item in value:
                yield from values(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key in ("enum", "const"):
                    yield from item if isinstance(item, list) else [item]
                else:
                    yield from values(item)

    return {w for w in values(document.content) if CODE.fullmatch(str(w))}


def tables(section: str, name: str = "protocol.md") -> str:
    """Return the first column of a section's tables in a document of docs/."""
    text = (ROOT / "docs" / name).read_text()
    part = text.partition(f"\n## {section}")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^\| (.+?) \|", part, re.M))


def test_each_error_code_is_documented(
    asyncapi: Document, openapi: Document, organisers_api: Document
) -> None:
    documented = codes_of(asyncapi) | codes_of(openapi)
    of_organisers = codes_of(organisers_api)
    assert codes_of_the_code() == (documented | of_organisers | OF_PAGES | OF_THE_DESK)
    for codes, text in (
        (documented, tables("6. Errors")),
        (of_organisers, tables("Errors", "api.md")),
    ):
        assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", text)) == codes


def test_each_message_has_an_arrow(asyncapi: Document) -> None:
    text = (ROOT / "docs/protocol.md").read_text()
    for action, arrow in ARROWS.items():
        documented = set()
        for pointer in messages(asyncapi, "typed", action).values():
            fields = asyncapi.at(pointer)["properties"]
            kind = fields.get("kind", {}).get("const", "")
            documented.add((fields["type"]["const"], kind))
        shown = re.findall(rf'{arrow} {{"type": "(\w+)"(?:, "kind": "(\w+)")?', text)
        assert set(shown) == documented


def test_each_close_code_is_explained(asyncapi: Document) -> None:
    named = {code for name, code in vars(close_codes).items() if name.isupper()}
    documented = set(map(int, asyncapi.content["x-close-codes"]))
    # The websocket library sends these two.
    assert named == documented - {1002, 1007}
    explained = re.findall(r"\d{4}", tables("7. Close codes"))
    assert sorted(map(int, explained)) == sorted(documented)
