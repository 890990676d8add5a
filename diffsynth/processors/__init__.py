"""What a control net gets to see: edges, depth, poses, made from frames."""
