"""The languages spoken on the websocket: events to frames, frames to commands."""
