#!/usr/bin/env python3
"""Django's command line with the panel's settings; ``deploy/manage`` runs it as the panel's web user."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
