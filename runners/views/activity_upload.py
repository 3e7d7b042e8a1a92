"""The form with which a file of a watch is uploaded, previewed and imported.

The runner's own page and the race office use it.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core import signing
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runners.activity_files.formats import MAX_BYTES, FileError, read_file
from runners.activity_files.importing import FilePlan, file_import, file_plan
from runners.models import Entry
from runners.positions.fix import Fix

SALT = "runners.activity_file"
# How long a preview can be confirmed.
MAX_AGE_S = 3_600


class ActivityForm(forms.Form):
    """A file; a valid one is in `plan`, and in `signed` for its confirmation."""

    # Whether runners upload their own files.
    is_own = False

    file = forms.FileField(
        label=gettext_lazy("File of a watch"),
        help_text=gettext_lazy(
            "FIT, TCX or GPX with times, as exported by the watch's app."
        ),
        widget=forms.FileInput(attrs={"accept": ".fit,.tcx,.gpx"}),
    )

    def __init__(self, *args: Any, entry: Entry | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entry = entry
        self.plan: FilePlan | None = None

    def clean_file(self) -> None:
        if self.entry is None:
            return
        try:
            fixes = read_file(self.cleaned_data["file"].read(MAX_BYTES + 1))
            self.plan = file_plan(entry=self.entry, fixes=fixes, is_own=self.is_own)
        except FileError as error:
            raise forms.ValidationError(str(error)) from error

    @property
    def signed(self) -> str:
        """Return the previewed positions, so that exactly these are imported."""
        assert self.entry is not None and self.plan is not None
        fixes = [(fix.t, fix.lat, fix.lng, fix.altitude) for fix in self.plan.fixes]
        return signing.dumps([self.entry.pk, fixes], salt=SALT, compress=True)


def import_signed(entry: Entry, signed: str, *, is_own: bool = False) -> FilePlan:
    """Import previewed positions; raises `FileError`."""
    try:
        of_entry, rows = signing.loads(signed, salt=SALT, max_age=MAX_AGE_S)
    except signing.BadSignature:
        of_entry, rows = None, []
    if of_entry != entry.pk:
        raise FileError(_("Upload the file again: nothing was stored."))
    fixes = [Fix(t, lat, lng, altitude=altitude) for t, lat, lng, altitude in rows]
    return file_import(entry=entry, fixes=fixes, is_own=is_own)
