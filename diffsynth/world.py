"""The processes that `torchrun` started for one job. Alone, a process is a world of its own and needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among those of the job."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is this process that writes what there is one of."""
        return self.rank == 0

    def agreed(self, value: Any) -> Any:
        """What the leading process has in `value`, in every process."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def total(self, tensor: "Tensor") -> "Tensor":
        """The sum over all processes."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def all_of(self, values: list[str]) -> list[str]:
        """The values of all processes, those of the leading one first."""
        if self.size == 1:
            return values
        import torch.distributed as dist

        boxes: list[list[str]] = [[] for _ in range(self.size)]
        dist.all_gather_object(boxes, values)
        return [each for box in boxes for each in box]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()
