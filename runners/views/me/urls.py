from __future__ import annotations

from django.urls import path

from runners.views.me import (
    become_runner,
    contacts,
    data,
    entries,
    files,
    followers,
    links,
    notifications,
    page,
    sharing,
    tokens,
    zones,
)

urlpatterns = [
    path("", page.me, name="me"),
    path("new/", become_runner.become_runner, name="become_runner"),
    path("visibility/", sharing.visibility, name="visibility"),
    path("pause/", sharing.pause, name="sharing_pause"),
    path("resume/", sharing.resume, name="sharing_resume"),
    path("until/", sharing.until, name="sharing_until"),
    path("stop-link/", sharing.make_stop_link, name="stop_link_make"),
    path("stop-link/revoke/", sharing.revoke_stop_link, name="stop_link_revoke"),
    path("cheers/", sharing.cheers, name="cheers"),
    path("entries/<int:pk>/", entries.answer, name="entry_answer"),
    path("followers/<int:pk>/", followers.answer, name="follow_answer"),
    path("tokens/", tokens.issue, name="token_issue"),
    path("tokens/<int:pk>/revoke/", tokens.revoke, name="token_revoke"),
    path("links/", links.make, name="link_make"),
    path("links/<int:pk>/revoke/", links.revoke, name="link_revoke"),
    path("contacts/", contacts.add, name="contact_add"),
    path("contacts/<int:pk>/remove/", contacts.remove, name="contact_remove"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/mail/", notifications.address, name="address_add"),
    path(
        "notifications/<int:pk>/stop/",
        notifications.stop_notifications,
        name="place_stop",
    ),
    path(
        "notifications/alerts/<int:pk>/stop/",
        notifications.stop_alert,
        name="alert_stop",
    ),
    path("zones/", zones.add, name="zone_add"),
    path("zones/<int:pk>/remove/", zones.remove, name="zone_remove"),
    path("files/", files.files, name="files"),
    path("positions.json", data.export_json, name="export_json"),
    path("positions.gpx", data.export_gpx, name="export_gpx"),
    path("erase/", data.erase, name="positions_erase"),
    path("delete/", data.delete_runner, name="runner_delete"),
    path("account/delete/", data.delete_account, name="account_delete"),
]
