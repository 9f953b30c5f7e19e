"""What the web half keeps in its database: users, API tokens, the audit trail, templates and presets.

Containers are not here: the worker knows them. ListedContainer is a copy of its list for Django's admin, made anew at each look.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from .errors import InvalidInput
from .spec import parse_container, parse_limits

TOKEN_PREFIX = "terrarium_"  # noqa: S105  what secret scanners look for, not a secret
_SEEN_EVERY = timedelta(minutes=1)  # last_used is no finer than this, so that reading does not write


class User(AbstractUser):
    """Staff sees and does everything; others see and act on the sandboxes that they own."""

    must_change_password = models.BooleanField(
        default=False, help_text="The password is a one-time password: the next log-in can do nothing but set a new one."
    )

    def set_password(self, raw_password: Any) -> None:
        super().set_password(raw_password)
        self.must_change_password = False  # whoever hands out a one-time password sets it again afterwards


class ApiToken(models.Model):
    """A password for programs. Only its hash is kept; the token itself is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created",)

    def __str__(self) -> str:
        return f"{self.name} of {self.user.get_username()}"

    @classmethod
    def issue(cls, user: User, name: str) -> tuple[ApiToken, str]:
        """→ (row, token). 256 random bits need no slow hash."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        return cls.objects.create(user=user, name=name, hash=hash_token(token)), token

    @classmethod
    def of(cls, token: str) -> ApiToken | None:
        """The row of a token whose user may log in; notes that it was used."""
        row = cls.objects.select_related("user").filter(hash=hash_token(token), user__is_active=True).first()
        now = timezone.now()
        if row is not None and (row.last_used is None or now - row.last_used > _SEEN_EVERY):
            cls.objects.filter(pk=row.pk).update(last_used=now)
        return row


class AuditEntry(models.Model):
    """Who changed what, from where. Rows are added and stay, but for the one of a slider that still moves; see audits.py."""

    time = models.DateTimeField(auto_now_add=True, db_index=True)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="audit_entries")
    username = models.CharField(max_length=150)  # stays when the user is gone
    action = models.CharField(max_length=40)
    target = models.CharField(max_length=200)
    detail = models.CharField(max_length=1000, blank=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        ordering = ("-time", "-pk")
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.username} {self.action} {self.target}"


class Kept(models.Model):
    """What is kept under a name, to be used again, in the field that ``content`` names. ``check_content`` raises InvalidInput."""

    content = ""
    name = models.SlugField(max_length=40, unique=True)
    description = models.CharField(max_length=200, blank=True)

    class Meta:
        abstract = True
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def check_content(self) -> None:
        raise NotImplementedError

    def clean(self) -> None:
        try:
            self.check_content()
        except InvalidInput as error:
            raise ValidationError({self.content: f"{error.message} {error.hint}".strip()}) from None


class Template(Kept):
    """What sandboxes are made from: the body of POST /api/v1/containers, without the name."""

    content = "spec"
    spec = models.JSONField(help_text='As for POST /api/v1/containers without "name", for example {"image": "busybox"}.')

    def check_content(self) -> None:
        if not isinstance(self.spec, dict) or "name" in self.spec:
            raise InvalidInput('A template is a JSON object without "name".')
        parse_container({**self.spec, "name": "from-a-template"})


class LimitPreset(Kept):
    """Limits that are set together: the body of PATCH /api/v1/containers/ID/limits."""

    content = "limits"
    limits = models.JSONField(help_text='Names and values, for example {"cpu": 0.5, "memory": "64M"}; null clears a limit.')

    def check_content(self) -> None:
        if not parse_limits(self.limits):
            raise InvalidInput("A preset sets one limit at least.")


class ListedContainer(models.Model):
    """One row of Django's admin list of containers: a copy, for searching and selecting."""

    id = models.CharField(max_length=128, primary_key=True)
    name = models.CharField(max_length=255)
    engine = models.CharField(max_length=40)
    state = models.CharField(max_length=20)
    image = models.CharField(max_length=255)
    owner = models.CharField(max_length=150, blank=True)
    created = models.DateTimeField()

    class Meta:
        ordering = ("-created",)
        verbose_name = "container"

    def __str__(self) -> str:
        return self.name


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
