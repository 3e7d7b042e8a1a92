"""Notifications for followers about their runners, by web push and by mail."""
