"""Settings: everything that an operator can set comes from the environment."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Collection, MutableMapping
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import dj_email_url
from django.core.exceptions import ImproperlyConfigured

from spectate.catalogues import compile_catalogues
from spectate.databases import database_settings

BASE_DIR = Path(__file__).resolve().parent.parent
# Files of the running program: database, secret and collected static files.
VAR_DIR = BASE_DIR / "var"


# The names of all variables that the helpers have read.
ENVIRONMENT_VARIABLES: set[str] = set()


def env_text(name: str, default: str = "") -> str:
    """Read a variable; blank is the same as unset."""
    ENVIRONMENT_VARIABLES.add(name)
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool) -> bool:
    """Read a switch; raise for anything except the usual words for on and off."""
    value = env_text(name).lower()
    if value == "":
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def env_int(name: str, default: int, *, least: int = 0, most: int = 10**9) -> int:
    """Read an integer within its limits."""
    value = env_text(name)
    if value == "":
        return default
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {least} to {most}, not {value!r}."
        )
    return int(value)


def env_list(name: str) -> list[str]:
    """Read words separated by commas, without empty ones."""
    return [word.strip() for word in env_text(name).split(",") if word.strip()]


def env_hosts(name: str) -> list[str]:
    """Read host names as Django compares them: without scheme and port."""
    hosts = env_list(name)
    for host in hosts:
        if not re.fullmatch(r"\*|\.?[\w-]+(\.[\w-]+)*|\[[0-9a-fA-F:.]+\]", host):
            raise ImproperlyConfigured(
                f"{name} must be host names separated by commas, without https:// "
                f"and without a port, not {host!r}."
            )
    return hosts


def env_networks(name: str) -> list[str]:
    """Read addresses and networks; `*` is all of them."""
    networks = env_list(name)
    for network in networks:
        try:
            network == "*" or ip_network(network)
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} must be addresses or networks separated by commas, like "
                f"127.0.0.1,10.0.0.0/8, not {network!r}."
            ) from None
    return networks


def env_url(name: str, default: str, *schemes: str) -> str:
    """Read an absolute URL with one of the schemes."""
    value = env_text(name, default)
    if value:
        check_url(name, value, schemes)
    return value


def check_url(name: str, url: str, schemes: Collection[str]) -> None:
    """Refuse a wrong URL without repeating it, as it may include a password."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        raise ImproperlyConfigured(
            f"{name} must start with {' or '.join(s + '://' for s in schemes)}"
            + (f", not {scheme!r}." if separator else ".")
        )
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} is not a URL: its port must be a number, and in a password "
            "signs like @ : / # are written %40 %3A %2F %23."
        ) from None


def kept_secret() -> str:
    """Return the secret stored in var/, created at the first call."""
    path = VAR_DIR / "secret_key"
    VAR_DIR.mkdir(exist_ok=True)
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as f:
            f.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return path.read_text()


# `runserver` and the test suite are for development; everything else is production by
# default.
_command = sys.argv[1] if len(sys.argv) > 1 else ""
_is_manage = Path(sys.argv[0]).name == "manage.py"
_serves = not _is_manage or _command in {"runserver", "serve"}
DEBUG = env_bool(
    "DEBUG", (_is_manage and _command == "runserver") or "pytest" in sys.modules
)

# Shorter keys are refused in production. `check --deploy` warns below 50 characters.
_KEY_LENGTH = 6
SECRET_KEY = env_text("SECRET_KEY")
if not SECRET_KEY:
    if _serves and not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Production (DEBUG off, the default) needs one: "
            "SECRET_KEY=$(openssl rand -base64 48), the same at every start."
        )
    SECRET_KEY = kept_secret()
elif len(SECRET_KEY) < _KEY_LENGTH and _serves and not DEBUG:
    raise ImproperlyConfigured(
        f"SECRET_KEY has {len(SECRET_KEY)} characters and could be guessed: use "
        "SECRET_KEY=$(openssl rand -base64 48), the same at every start."
    )

# The trust model of the server of 2015: anybody may publish for any id.
SPECTATE_OPEN = env_bool("SPECTATE_OPEN", False)
_open_is_meant = env_bool("SPECTATE_OPEN_IN_PRODUCTION", False) or DEBUG
if SPECTATE_OPEN and _serves and not _open_is_meant:
    raise ImproperlyConfigured(
        "SPECTATE_OPEN=1 lets anyone publish for any runner. In production "
        "(DEBUG off) it also needs SPECTATE_OPEN_IN_PRODUCTION=1."
    )

PORT = env_int("PORT", 8080, least=1, most=65535)
WORKERS = env_int("WORKERS", 1, least=1, most=256)
# One host, or several separated by commas, over which groups are spread.
REDIS_URL = env_text("REDIS_URL")
_redis = env_list("REDIS_URL")
for _host in _redis:
    check_url("REDIS_URL", _host, ("redis", "rediss", "unix"))
PUBLIC_URL = env_url("PUBLIC_URL", f"http://localhost:{PORT}", "http", "https")
PUBLIC_URL = PUBLIC_URL.rstrip("/")
_public = urlsplit(PUBLIC_URL)
if not _public.hostname or f"{_public.scheme}://{_public.netloc}" != PUBLIC_URL:
    raise ImproperlyConfigured(
        "PUBLIC_URL must be https://HOST or https://HOST:PORT and nothing behind it."
    )
# Proxies whose X-Forwarded-For header is trusted.
TRUSTED_PROXIES = env_networks("TRUSTED_PROXIES")
SPECTATE_MAP_STYLE = env_url("SPECTATE_MAP_STYLE", "", "http", "https")
# A PMTiles archive, as a file or an https address, out of which maps of races are cut.
SPECTATE_MAP_SOURCE = env_text("SPECTATE_MAP_SOURCE")
# The broker of OwnTracks in MQTT mode (docs/mqtt.md), with the name and the password of
# its account for this server.
SPECTATE_MQTT_URL = env_url("SPECTATE_MQTT_URL", "", "mqtt", "mqtts")
if SPECTATE_MQTT_URL and not urlsplit(SPECTATE_MQTT_URL).hostname:
    raise ImproperlyConfigured(
        "SPECTATE_MQTT_URL must be mqtts://USER:PASSWORD@HOST or mqtt://HOST:PORT."
    )

# Limits of a websocket. A `publish` of 500 fixes fits into a frame.
SPECTATE_FRAME_LIMIT = env_int("SPECTATE_FRAME_LIMIT", 128 * 1024, least=1024)  # bytes
SPECTATE_FIRST_MESSAGE = env_int("SPECTATE_FIRST_MESSAGE", 10, least=1)  # seconds
SPECTATE_FOLLOW_LIMIT = env_int("SPECTATE_FOLLOW_LIMIT", 1_000, least=1)
# Limits of sockets in each process, per user or share link and per token. There is no
# limit per address, because a race village shares one.
SPECTATE_SOCKETS_A_VIEWER = env_int("SPECTATE_SOCKETS_A_VIEWER", 50, least=1)
SPECTATE_SOCKETS_A_TOKEN = env_int("SPECTATE_SOCKETS_A_TOKEN", 5, least=1)
# New sockets are refused (1013) above this number, and while the event loop or its
# writes have been late for 5 s. 0: as many as the descriptors allow.
SPECTATE_SOCKETS = env_int("SPECTATE_SOCKETS", 0)
SPECTATE_LAG_LIMIT = env_int("SPECTATE_LAG_LIMIT", 1_000, least=1)  # milliseconds
# The rate of one token in fixes per second, and its burst.
SPECTATE_PUBLISH_RATE = env_int("SPECTATE_PUBLISH_RATE", 20, least=1)
SPECTATE_PUBLISH_BURST = env_int("SPECTATE_PUBLISH_BURST", 5_000, least=1)

# The key that signs web push messages: 32 bytes in base64url (docs/notifications.md).
# Without it, the key is derived from SECRET_KEY, and browsers have to subscribe again
# when that changes.
SPECTATE_VAPID_KEY = env_text("SPECTATE_VAPID_KEY")
if not re.fullmatch(r"([A-Za-z0-9_-]{43}=?)?", SPECTATE_VAPID_KEY):
    raise ImproperlyConfigured(
        "SPECTATE_VAPID_KEY must be 32 bytes in base64url: leave it out, or make one "
        "as docs/notifications.md says."
    )
# Allows push endpoints on this machine and without TLS, for tests only.
SPECTATE_PUSH_LOCAL = env_bool("SPECTATE_PUSH_LOCAL", False)
if SPECTATE_PUSH_LOCAL and not DEBUG:
    raise ImproperlyConfigured(
        "SPECTATE_PUSH_LOCAL=1 lets anybody have this server post to private "
        "addresses. It works with DEBUG only."
    )

# Positions are deleted after this many days, once per day. 0 keeps them. Those outside
# of the runner's races are kept for a time of their own.
SPECTATE_RETENTION_DAYS = env_int("SPECTATE_RETENTION_DAYS", 0, most=36_500)
SPECTATE_RETENTION_DAYS_OUTSIDE_RACES = env_int(
    "SPECTATE_RETENTION_DAYS_OUTSIDE_RACES", 30, most=36_500
)
# Whether the points that the line of an old track needs are kept.
SPECTATE_KEEP_LINE = env_bool("SPECTATE_KEEP_LINE", False)

ALLOWED_HOSTS = env_hosts("ALLOWED_HOSTS") or [
    _public.hostname,
    "localhost",
    "127.0.0.1",
]
if _public.scheme == "https":
    CSRF_TRUSTED_ORIGINS = [f"https://{_public.netloc}"]
    SECURE_SSL_REDIRECT = True
    # Load balancers use plain HTTP to check the health.
    SECURE_REDIRECT_EXEMPT = [r"^readyz$"]
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    # Browsers' preload lists can be left only after months, so the owner of the domain
    # has to choose them, in the proxy.
    SECURE_HSTS_PRELOAD = False
    SILENCED_SYSTEM_CHECKS = ["security.W021"]
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
else:
    # Browsers ignore it over plain HTTP and report an error.
    SECURE_CROSS_ORIGIN_OPENER_POLICY = None

INSTALLED_APPS = [
    # The first one, so that `runserver` serves websockets. Nothing else imports
    # Twisted.
    *(["daphne"] if _is_manage and _command == "runserver" else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "spectate.static.StaticFiles",
    "channels",
    # Used by its list of sessions.
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "runners",
]

MIDDLEWARE = [
    "runners.views.throttle.slow_failures",
    "runners.views.share_header.share_header",
    "runners.views.turns.in_turn",
    "runners.views.policy.content_policy",
    "runners.views.errors.json_errors",
    "runners.api.problems.api_errors",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "runners.views.language.Language",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "runners.views.errors.CacheUnavailablePage",
    "runners.views.refused.RefusedPage",
    "runners.views.errors.NotFoundPage",
]
# Visitors never see tracebacks, not even with DEBUG. They are in the log.
DEFAULT_EXCEPTION_REPORTER = "runners.views.errors.PlainExceptionReporter"

ROOT_URLCONF = "spectate.urls"
ASGI_APPLICATION = "spectate.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "runners.views.language.script_words",
                "runners.views.account.context.account_context",
            ],
        },
    }
]

_database = env_text("DATABASE_URL")
_in_memory = _database == "sqlite://:memory:"  # no URL, but valid for commands
if not _database:
    VAR_DIR.mkdir(exist_ok=True)
    _database = f"sqlite:///{VAR_DIR / 'spectate.sqlite3'}"
elif not _in_memory:
    check_url("DATABASE_URL", _database, ("postgres", "postgresql", "sqlite"))
DATABASES = {"default": database_settings(_database)}
if DATABASES["default"]["NAME"] in {"", ":memory:"} and not _in_memory:
    # Without a name, SQLite would use memory, and PostgreSQL guesses one.
    raise ImproperlyConfigured(
        "DATABASE_URL must name a database: postgres://USER:PASSWORD@HOST/NAME, or "
        "sqlite:////srv/spectate.sqlite3 (four slashes: the path begins with one)."
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "runners.live.layer.RedisLayer",
        "CONFIG": {"hosts": _redis, "prefix": "spectate."},
    }
    if _redis
    else {"BACKEND": "runners.live.layer.LocalLayer"}
}

AUTH_PASSWORD_VALIDATORS = [
    *(
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in (
            "UserAttributeSimilarityValidator",
            "MinimumLengthValidator",
            "CommonPasswordValidator",
            "NumericPasswordValidator",
        )
    ),
    {"NAME": "runners.views.account.passwords.LocalNamesValidator"},
]
PASSWORD_HASHERS = ["spectate.hashers.PatientHasher"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "live"
# The life of the link in a mail.
PASSWORD_RESET_TIMEOUT = 3 * 3600  # Seconds.

# Accounts: django-allauth. Their limits are counted in the cache, which all processes
# share: with REDIS_URL in Redis; without it there is only one process.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _redis[0],
        "KEY_PREFIX": "spectate.cache",
        # Seconds.
        "OPTIONS": {"socket_timeout": 3, "socket_connect_timeout": 3},
    }
    if _redis
    else {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        # Limit of entries. A full cache loses counts, and nobody can cause this many in
        # time.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
ACCOUNT_ADAPTER = "runners.views.account.adapter.AccountAdapter"
ACCOUNT_FORMS = {"login": "runners.views.account.forms.SignInForm"}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_MAX_EMAIL_ADDRESSES = 2
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Spectate: "
ACCOUNT_EMAIL_NOTIFICATIONS = True
# Strangers' addresses get no mail.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
# The password again, before anything of an account is changed.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_METHODS = {"password", "mfa"}
# A race village shares one address ("ip"), so that its limits are wide; "key" is an
# account (of failed sign-ins: from one address), or a mail address.
ACCOUNT_RATE_LIMITS = {
    "login": "100/m/ip",
    # A check of a password costs a third of a second of CPU time.
    "login_failed": "30/m/ip,10/5m/key",
    "login_failed_anywhere": "100/5m/key",
    "signup": "20/m/ip,300/d/ip",
    "reset_password": "20/m/ip,3/h/key",
    "recover": "20/m/ip,5/h/key",
    "change_password": "5/m/user",
}
MFA_ADAPTER = "runners.views.account.adapter.SecondFactorAdapter"
MFA_FORMS = {"generate_recovery_codes": "runners.views.account.forms.NewCodesForm"}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
# Browsers offer passkeys over TLS, and on localhost.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEBUG
# Accounts sign in by name, because an unconfirmed address gives no access.
MFA_ALLOW_UNVERIFIED_EMAIL = True
# Phones' clocks may be off by half a minute.
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODE_DIGITS = 10

_mail = dj_email_url.parse(
    env_url(
        *("EMAIL_URL", "console://"),
        *("submission", "smtp", "console", "file", "memory", "dummy"),
    )
)
# In seconds. Otherwise a mail server that does not respond blocks a thread for ever.
_mail["EMAIL_TIMEOUT"] = _mail["EMAIL_TIMEOUT"] or 10
vars().update(_mail)

LANGUAGE_CODE = "en"
LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("fr", "Français"),
    ("es", "Español"),
]
LANGUAGE_COOKIE_SECURE = _public.scheme == "https"
LOCALE_PATHS = [BASE_DIR / "locale"]
compile_catalogues(LOCALE_PATHS[0])
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# The map library and the outlines of land come from npm (`make setup`).
_MAP_ASSETS = {
    "maplibre-gl": "node_modules/maplibre-gl/dist",
    "topojson-client": "node_modules/topojson-client/dist",
    "world-atlas": "node_modules/world-atlas",
}
STATICFILES_DIRS = [
    BASE_DIR / "static",
    *(
        (f"vendor/{name}", BASE_DIR / path)
        for name, path in _MAP_ASSETS.items()
        if (BASE_DIR / path).is_dir()
    ),
]
# File names are not changed, so that ES modules can import each other in development.
# Browsers revalidate after a minute and mostly get 304.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "spectate.static.BundledStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_MAX_AGE = 0 if DEBUG else 60  # seconds


def _static_headers(headers: MutableMapping[str, str], path: str, url: str) -> None:
    # A service worker may control pages above its own address only with this header.
    for worker, scope in (("phone", "/share/"), ("offline", "/")):
        if url.endswith(f"/js/{worker}/worker.js"):
            headers["Service-Worker-Allowed"] = scope


WHITENOISE_ADD_HEADERS_FUNCTION = _static_headers
# Tile servers require the referring site, as OpenStreetMap documents.
SECURE_REFERRER_POLICY = "strict-origin-when-cross-origin"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
    },
    "filters": {"senders": {"()": "runners.serving.logs.NoTracebackOfSenders"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["senders"],
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    # Django's own handlers print every query with DEBUG, and positions do not belong in
    # logs.
    "loggers": {"django.db.backends": {"level": "INFO"}},
}
