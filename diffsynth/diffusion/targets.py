"""The words of a config for what is learned, how it is weighed, and how videos are drawn. Needs no torch."""

from typing import Literal, get_args

Target = Literal["epsilon", "v", "x0", "flow"]
Loss = Literal["l2", "l1"]
SolverName = Literal["ddpm", "ddim", "euler", "heun", "dpmpp_2m", "unipc"]
SOLVERS = get_args(SolverName)
