"""All addresses of the server, derived from its URLconf.

A parameter or a field of a query that has no values here fails the test.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from django.urls import URLPattern, URLResolver, get_resolver

from runners.views.language import _words_url
from tests.trust.worlds.scene import CODES, HIDDEN, NEVER_SHOWN, PUBLISHING, Scene

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)")


def patterns(resolver: URLResolver | None = None, before: str = "") -> Iterator[str]:
    """Return the routes of all views, such as `races/<slug:slug>/`."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = before + re.sub(r"^\^|\$$|\\Z$", "", str(pattern.pattern))
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from patterns(pattern, route)


def values_of(scene: Scene) -> Mapping[str, Sequence[str]]:
    """Return the values of the parameters of routes.

    Keys are "PARAMETER" or, where it means something else, "FIRST PART/PARAMETER".
    """
    links = scene.links
    return {
        "slug": ["ten"],
        "code": HIDDEN,
        "name": ["http"],
        "bib": [str(PUBLISHING.index(code) + 1) for code in NEVER_SHOWN],
        # Primary keys of rows: they are the same in both worlds.
        "pk": ["1"],
        "entry": ["3"],
        "id": ["1"],
        **dict.fromkeys("zxy", ["0"]),
        "object_id": ["3"],
        "content_type_id": ["1"],
        "phones/token": ["3"],
        "s/token": [links[name] for name in ("race", "ann", "PIN", "ended")],
        "invitations/token": [links["invitation"], "x"],
        "stop/token": [links["stop sharing"], "x"],
        "signed": [*(v.rsplit("/", 2)[1] for v in _stops(links)), "x"],
        "kind": ["csv", "xlsx"],
        "language": ["de"],
        "version": [str(_words_url("de")).rpartition("/")[2].removesuffix(".json")],
        "key": ["x"],
        "uidb36": ["1"],
        "app_label": ["auth", "runners", "account", "mfa", "usersessions"],
        "url": ["nothing"],
    }


def _stops(links: Mapping[str, str]) -> list[str]:
    return [
        url for name, url in links.items() if name.startswith("stop ") and "://" in url
    ]


# Fields of many pages that choose a language, a layout or the next page.
SHOW_NOTHING = frozenset({"lang", "embed", "screen", "part", "next", "email"})
# The queries of views that read others, by route.
QUERIES: dict[str, tuple[str, ...]] = {
    "": ("embed=1", "screen=1", "runner=private"),
    "races/": ("q=t",),
    "races/<slug:slug>/": ("runner=private", "runner=zoned"),
    "live.json": (
        "public=1&race=ten",
        "runners=" + ",".join(CODES),
        "public=1&race=ten&since=1&runners=" + ",".join(CODES),
    ),
    "races/<slug:slug>/embed/": ("what=standings&category=W&height=500",),
    "races/<slug:slug>/replay.json": ("from=BEGIN", "from=END"),
    "races/<slug:slug>/eta.json": (
        "at=10000",
        "at=48.06,2.0",
        "at=9000&runners=" + ",".join(CODES),
    ),
    **{
        f"races/<slug:slug>/standings{kind}": (
            "by=chip&splits=1",
            "category=W&wave=Red&club=Harriers",
            "brief=1&club=",
            "category=M&rows=2&from=2",
            "q=a&part=1&runners=private,zoned",
        )
        for kind in (".json", ".csv", "/")
    },
    "races/<slug:slug>/runners/<path:bib>/": ("part=1",),
    "runners/<code:code>/track.json": ("since=1", "detail=1"),
    "admin/runners/race/<int:pk>/desk/swap/": ("first=3&second=4",),
    "admin/runners/race/<int:pk>/accounted/": ("show=all",),
}


def paths(route: str, scene: Scene) -> list[str]:
    """Return the addresses of a route, with all values of its parameters."""
    values = values_of(scene)
    parts = PARAMETER.split(route)
    names = [
        named or nameless
        for named, nameless in zip(parts[1::3], parts[2::3], strict=True)
    ]
    fixed = [*(re.sub(r"\\(.)", r"\1", part) for part in parts[::3])]
    choices = [
        values.get(f"{before.strip('/').rpartition('/')[2]}/{name}") or values[name]
        for before, name in zip(fixed, names, strict=False)
    ]
    found = []
    for chosen in itertools.product(*choices):
        pieces = itertools.zip_longest(fixed, chosen, fillvalue="")
        path = "/" + "".join(itertools.chain.from_iterable(pieces))
        found.append(path)
    start = round(scene.start.timestamp() * 1000)
    for query in QUERIES.get(route, ()):
        query = query.replace("BEGIN", str(start))
        query = query.replace("END", str(start + 2_380_000))
        found += [f"{path}?{query}" for path in found if "?" not in path]
    return found
