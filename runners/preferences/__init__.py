"""Runners' decisions about who may see and follow them."""
