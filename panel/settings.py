"""Django's settings, all from the environment (deploy/lib/webspace.py sets it). Nothing here is written per machine.

Without TERRARIUM_WEB_DIR (tests, makemigrations, checks) nothing is read or written outside the process: the key is made
for this process and the database lies in memory.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from panel.environment import own_names, read_port, read_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
_environ = os.environ

TERRARIUM_WEB_DIR = Path(_environ["TERRARIUM_WEB_DIR"]) if _environ.get("TERRARIUM_WEB_DIR") else None
TERRARIUM_NPM_DIR = Path(_environ.get("TERRARIUM_NPM_DIR") or BASE_DIR / "node_modules")
TERRARIUM_WORKER_SOCKET = Path(_environ.get("TERRARIUM_WORKER_SOCKET") or "/run/terrarium/web/worker.sock")
TERRARIUM_HOST = _environ.get("TERRARIUM_HOST") or "127.0.0.1"
TERRARIUM_PORT = read_port(_environ.get("TERRARIUM_PORT") or "8000")
TERRARIUM_NODE = _environ.get("TERRARIUM_NODE") or "local"
TERRARIUM_PUBLIC_URL = _environ.get("TERRARIUM_PUBLIC_URL") or ""  # scheme://name, behind a proxy on this machine

DEBUG = _environ.get("TERRARIUM_DEBUG") == "1"  # for development; check terrarium.W001 warns
SECRET_KEY = read_secret_key(TERRARIUM_WEB_DIR) if TERRARIUM_WEB_DIR else secrets.token_urlsafe(48)
ALLOWED_HOSTS = [name.strip() for name in _environ.get("TERRARIUM_ALLOWED_HOSTS", "").split(",") if name.strip()] or own_names(
    TERRARIUM_HOST
)

INSTALLED_APPS = [
    "containers_app.apps.ContainersConfig",
    "containers_app.apps.TerrariumAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
]

# From the outside in. Admission comes before CSRF so that a request without credentials is a 401, not a CSRF failure.
MIDDLEWARE = [
    "containers_app.middleware.HeadersMiddleware",
    "containers_app.middleware.CompressMiddleware",
    "containers_app.middleware.SessionMiddleware",
    "containers_app.middleware.CommonMiddleware",
    "containers_app.middleware.AuthenticationMiddleware",
    "containers_app.middleware.AdmissionMiddleware",
    "containers_app.middleware.CsrfMiddleware",
    "containers_app.middleware.MessageMiddleware",
]

ROOT_URLCONF = "containers_app.urls"
ASGI_APPLICATION = "panel.asgi.application"

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
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "CONN_MAX_AGE": None,  # opening one costs more than what we ask of it
        "NAME": TERRARIUM_WEB_DIR / "db.sqlite3" if TERRARIUM_WEB_DIR else ":memory:",
        "OPTIONS": {
            "timeout": 10,  # seconds that a writer waits for another
            "transaction_mode": "IMMEDIATE",  # a transaction that will write waits at its start, where it can
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

AUTH_USER_MODEL = "containers_app.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/containers/"
LOGOUT_REDIRECT_URL = "/login/"

# Cookies know hosts, not ports: with the port in the name two panels on one host do not log each other out.
SESSION_COOKIE_NAME = f"terrarium_{TERRARIUM_PORT}_session"
CSRF_COOKIE_NAME = f"terrarium_{TERRARIUM_PORT}_csrf"
SESSION_COOKIE_AGE = 14 * 24 * 3600  # seconds
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TERRARIUM_PUBLIC_URL.startswith("https:")
CSRF_TRUSTED_ORIGINS = [TERRARIUM_PUBLIC_URL] if TERRARIUM_PUBLIC_URL else []  # whatever Host the proxy passes on
CSRF_FAILURE_VIEW = "containers_app.views.errors.csrf_failed"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20  # bytes; panel/asgi.py refuses longer bodies before Django reads them
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

STATIC_URL = "/static/"
STATIC_ROOT = Path(_environ["TERRARIUM_STATIC_DIR"]) if _environ.get("TERRARIUM_STATIC_DIR") else None
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "panel.npm_finder.NpmFinder",
]
STORAGES = {
    "staticfiles": {
        "BACKEND": "panel.static_storage.CompressedManifestStorage"
        if STATIC_ROOT
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

SILENCED_SYSTEM_CHECKS = [
    "security.W001",  # SecurityMiddleware: containers_app.middleware.HeadersMiddleware sends the headers
    "security.W002",  # XFrameOptionsMiddleware: the same
    "security.W003",  # CsrfViewMiddleware: containers_app.middleware.CsrfMiddleware is one
    "security.W004", "security.W008", "security.W012", "security.W016",  # TLS is the proxy's in front
]  # fmt: skip

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django.request": {"level": "ERROR"}},  # a visitor's mistake (4xx) is no news
}
