"""Which frames a frame attends to, and the attention that lets it."""
