"""The items of runners and races as clients get them when they follow."""
