from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from runners.models import Runner
from runners.models.runner import token_digest

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("create_runner", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_one_line_with_code_and_token() -> None:
    printed = create("17", "--name", "Bob", "--visibility", "followers")

    assert printed.count("\n") == 1
    answer = json.loads(printed)
    assert answer.keys() == {"code", "token"}
    bob = Runner.objects.get(code="17")
    assert (bob.name, bob.visibility) == ("Bob", "followers")
    assert bob.tokens.get().digest == token_digest(answer["token"])


def test_a_runner_is_public_by_default() -> None:
    create("17", "--name", "Bob")

    assert Runner.objects.get().visibility == Runner.Visibility.PUBLIC


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["17", "--name", "Charlie"], "code: Runner with this Code already exists."),
        (["1 7", "--name", "Charlie"], "code: Use 1 to 40 letters"),
        (["é", "--name", "Charlie"], "code: Use 1 to 40 letters"),
        (["18", "--name", "  "], "name: This field cannot be blank."),
        (["18", "--name", "Charlie", "--visibility", "all"], "invalid choice: 'all'"),
        (["18"], "--name"),
    ],
)
def test_a_refusal_is_one_line(arguments: list[str], message: str) -> None:
    create("17", "--name", "Bob")

    with pytest.raises(CommandError, match=message) as refusal:
        create(*arguments)

    assert "\n" not in str(refusal.value)
    assert Runner.objects.count() == 1
