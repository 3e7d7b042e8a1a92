"""All texts of templates, code and scripts have translations."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import allauth
import polib
import pytest
from django.conf import settings
from django.template import Template
from django.template.base import Node
from django.templatetags.i18n import BlockTranslateNode, TranslateNode
from django.utils.translation import gettext

from tests.servers import ROOT

LANGUAGES = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
FUNCTIONS = {"_", "gettext", "gettext_lazy", "ngettext"}
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}")
# A text in an argument of a template tag, and one in a script.
ARGUMENT = re.compile(r"""\b_\((?:"([^"]+)"|'([^']+)')\)""")
# Pages of django-allauth that have no URL here.
NOT_SERVED = re.compile(r"phone|login_code|request_|reauthentication_code|signup_")
SCRIPT = re.compile(r'\bn?gettext\(\s*"((?:[^"\\]|\\.)+)"')


def translated_files(folder: str, pattern: str) -> Iterator[Path]:
    """Yield the files of a folder without those of the admin, which stay English."""
    for path in (ROOT / folder).rglob(pattern):
        if "admin" not in path.parts:
            yield path


@functools.cache
def texts_of_pages() -> set[str]:
    """Return the texts of templates and code."""
    return {*texts_of_templates(), *texts_of_code()}


def texts_of_templates(paths: Iterable[Path] = ()) -> Iterator[str]:
    """Yield the texts of templates, by default of our own."""
    for path in paths or translated_files("templates", "*.html"):
        source = path.read_text()
        yield from (a or b for a, b in ARGUMENT.findall(source))
        for node in Template(source).nodelist.get_nodes_by_type(Node):
            if isinstance(node, TranslateNode):
                yield str(node.filter_expression.var.literal)
            elif isinstance(node, BlockTranslateNode):
                yield node.render_token_list(node.singular)[0]


def texts_of_code() -> Iterator[str]:
    for path in translated_files("runners", "*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in FUNCTIONS
                and isinstance(node.args[0], ast.Constant)
            ):
                yield str(node.args[0].value)


def texts_of_scripts() -> Iterator[str]:
    for path in translated_files("static/js", "*.js"):
        yield from SCRIPT.findall(path.read_text())


def catalogue(language: str, domain: str) -> polib.POFile:
    return polib.pofile(str(ROOT / f"locale/{language}/LC_MESSAGES/{domain}.po"))


def translations(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_has_its_translations(language: str) -> None:
    pages = texts_of_pages()
    scripts = set(texts_of_scripts())
    assert len(pages) > 300 and len(scripts) > 150
    for domain, texts in (("django", pages), ("djangojs", scripts)):
        known = {
            entry.msgid
            for entry in catalogue(language, domain)
            if all(translations(entry))
        }
        assert texts - known == set()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_translations_are_not_fuzzy_and_keep_their_placeholders(
    language: str, domain: str
) -> None:
    for entry in catalogue(language, domain):
        assert not entry.fuzzy, entry.msgid
        wanted = set(PLACEHOLDER.findall(entry.msgid + entry.msgid_plural))
        for text in translations(entry):
            # "Once" needs no number.
            assert set(PLACEHOLDER.findall(text)) <= wanted, text
        assert set(PLACEHOLDER.findall("".join(translations(entry)))) == wanted, (
            entry.msgid
        )


def test_headings_of_allauth_are_in_sentence_case() -> None:
    # Our own templates replace those of the same name.
    folder = Path(allauth.__file__).parent / "templates"
    paths = [
        path
        for path in (*folder.glob("account/*.html"), *folder.glob("mfa/**/*.html"))
        if not NOT_SERVED.search(str(path))
        and not (ROOT / "templates" / path.relative_to(folder)).exists()
    ]
    headings = {
        gettext(text)
        for text in texts_of_templates(paths)
        if not re.search(r"[.,:%]", text)
    }
    assert len(paths) > 20 and "Recovery codes" in headings
    # One capital, besides words such as "TOTP".
    assert [text for text in headings if re.search(r" [A-Z][a-z]", text)] == []
