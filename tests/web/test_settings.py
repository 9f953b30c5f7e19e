import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from containers_app import checks
from panel.environment import own_names, read_port, read_secret_key

ROOT = Path(__file__).resolve().parents[2]


def manage(tmp_path, *words, **environment):
    known = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "TERRARIUM_WEB_DIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *words],
        env=known | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_secret_key_is_made_once_and_private(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: read_secret_key(tmp_path), range(32)))
    assert len(keys) == 1 and len(keys.pop()) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_a_panel_on_every_address_answers_to_every_name():
    assert own_names("0.0.0.0") == own_names("::") == ["*"]
    assert "*" not in own_names("127.0.0.1") and "localhost" in own_names("127.0.0.1")
    assert "10.0.0.7" in own_names("10.0.0.7") and "[fd00::1]" in own_names("fd00::1")


@pytest.mark.parametrize(("text", "port"), [("8000", 8000), ("0", 0), ("65536", 0), ("x", 0), ("-1", 0), ("٨٠", 0)])
def test_a_port_is_a_number_in_range(text, port):
    assert read_port(text) == port


def test_wrong_settings_are_said_with_an_id_and_a_hint(settings, tmp_path):
    settings.TERRARIUM_WEB_DIR = tmp_path / "missing"
    settings.TERRARIUM_WORKER_SOCKET = tmp_path / "missing" / "worker.sock"
    settings.TERRARIUM_PORT = 0
    settings.DEBUG, settings.TERRARIUM_HOST = True, "0.0.0.0"
    settings.STATIC_ROOT = tmp_path
    found = [
        message
        for check in (
            checks.check_web_dir,
            checks.check_port,
            checks.check_worker_socket,
            checks.check_debug,
            checks.check_static_files,
        )
        for message in check()
    ]
    assert [message.id for message in found] == [
        "terrarium.E001",
        "terrarium.E002",
        "terrarium.W002",
        "terrarium.W001",
        "terrarium.E003",
    ]
    assert all(message.hint for message in found)


def ask(tmp_path, code, **environment):
    """What the code prints in a process with the panel's settings."""
    ran = manage(tmp_path, "shell", "--no-imports", "-c", code, **environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_migrations_are_complete_and_the_database_is_in_wal_mode(tmp_path):
    assert manage(tmp_path, "migrate", "-v0").returncode == 0
    ran = manage(tmp_path, "makemigrations", "--check", "--dry-run")
    assert ran.returncode == 0, ran.stdout
    code = "from django.db import connection; c = connection.cursor(); c.execute('PRAGMA journal_mode'); print(c.fetchone()[0])"
    assert ask(tmp_path, code) == "wal"


def test_two_panels_on_one_host_do_not_share_cookies(tmp_path):
    code = "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME)"
    first, second = (set(ask(tmp_path, code, TERRARIUM_PORT=port).split()) for port in ("8000", "8001"))
    assert len(first | second) == 4


@pytest.mark.parametrize(
    ("url", "told"), [("", "False False []"), ("http://a.example", "False False ['http://a.example']"),
                      ("https://a.example", "True True ['https://a.example']")]
)  # fmt: skip
def test_behind_a_proxy_with_tls_cookies_are_secure_and_its_forms_are_taken(tmp_path, url, told):
    code = "from django.conf import settings as s; print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.CSRF_TRUSTED_ORIGINS)"
    assert ask(tmp_path, code, TERRARIUM_PUBLIC_URL=url) == told
