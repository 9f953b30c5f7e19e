"""What stands behind deploy/up, down, manage, test and bench. Standard library only: it runs before anything is installed."""
