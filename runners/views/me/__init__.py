"""What a runner decides and keeps, on pages of their own under /me/."""
