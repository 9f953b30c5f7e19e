"""``manage.py create_token USER``: prints a new API token, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from containers_app.models import ApiToken, User


class Command(BaseCommand):
    help = "Makes an API token for a user and prints it. It can't be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="user name")
        parser.add_argument("--name", default="command line", help="what the token is for")

    def handle(self, *args: Any, user: str, name: str, **options: Any) -> None:
        owner = User.objects.filter(username=user, is_active=True).first()
        if owner is None:
            raise CommandError(f"There is no user {user}.")
        if not 0 < len(name) <= 100:
            raise CommandError("The name has 1 to 100 characters.")
        self.stdout.write(ApiToken.issue(owner, name)[1])
