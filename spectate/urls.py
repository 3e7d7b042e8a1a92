from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "Spectate"
admin.site.index_title = "Race office"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("runners.urls")),
]
