"""How the demo model is made: its parts' shapes, its pictures, its words, and the two stages of its training."""
