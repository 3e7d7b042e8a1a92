"""Accounts: sign-in, second factors and recovery, by django-allauth."""
