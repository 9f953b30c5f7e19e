"""``manage.py create_admin --username admin --password-stdin [--one-time]``: the first administrator, made by deploy/up."""

from __future__ import annotations

import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from containers_app.models import User


class Command(BaseCommand):
    help = "Makes an administrator unless there is one. Prints nothing but that there is one already."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument("--password-stdin", action="store_true", required=True, help="read the password from standard input")
        parser.add_argument("--one-time", action="store_true", help="the first log-in must set a new password")

    def handle(self, *args: Any, username: str, one_time: bool, **options: Any) -> None:
        if User.objects.filter(is_superuser=True).exists():
            self.stdout.write("There is an administrator already; nothing was changed.")
            return
        password = sys.stdin.readline().rstrip("\r\n")
        user = User(username=username, is_staff=True, is_superuser=True)
        try:
            user.full_clean(exclude=("password",))
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        user.set_password(password)
        user.must_change_password = one_time
        user.save()
