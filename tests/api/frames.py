"""Frames of both dialects, compared with docs/asyncapi.yaml."""

from __future__ import annotations

from typing import Literal

from tests.api.capture import Dialect
from tests.api.documents import Document
from tests.clients import Message

Action = Literal["send", "receive"]
Messages = list[tuple[Dialect, Message]]
DIALECTS: tuple[Dialect, ...] = ("seed", "typed")


def messages(document: Document, dialect: Dialect, action: Action) -> dict[str, str]:
    """Return the pointers of a dialect's payloads in a direction, by message name."""
    channel = f"#/channels/{dialect}"
    pointers = {}
    for operation in document.content["operations"].values():
        if operation["channel"]["$ref"] != channel:
            continue
        refs = []
        if operation["action"] == action:
            refs += operation["messages"]
        if action == "send" and "reply" in operation:
            refs += operation["reply"]["messages"]
        for ref in refs:
            _, pointer = document.follow(ref)
            pointers[pointer.rpartition("/")[2]] = f"{pointer}/payload"
    return pointers


def undocumented(document: Document, action: Action, occurred: Messages) -> list[str]:
    """Return why messages are not exactly one of the documented ones."""
    found = []
    for dialect, message in occurred:
        known = messages(document, dialect, action)
        faults = {name: document.faults(at, message) for name, at in known.items()}
        matching = [name for name, wrong in faults.items() if not wrong]
        if matching[1:]:
            found.append(f"{dialect}: {message} is each of {', '.join(matching)}")
        elif not matching:
            # The most similar documented message.
            name = min(faults, key=lambda name: len(faults[name]))
            found.append(f"{dialect}: {message} is no {name}: {faults[name]}")
    return found


def unseen(document: Document, action: Action, occurred: Messages) -> set[str]:
    """Return the documented messages, and parts of them, that have not occurred."""
    unseen = set()
    for dialect in DIALECTS:
        for pointer in messages(document, dialect, action).values():
            unseen |= {pointer, *document.parts(pointer)}
    for dialect, message in occurred:
        for pointer in messages(document, dialect, action).values():
            if not document.faults(pointer, message):
                unseen -= {pointer, *document.parts(pointer, message)}
    return unseen
