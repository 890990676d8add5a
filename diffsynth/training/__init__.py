"""Training, sampling and evaluating video diffusion: data, loop, checkpoints, and what samples are measured by."""
