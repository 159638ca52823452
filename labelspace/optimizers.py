"""Adam, AdamW and Adagrad by PyTorch's fused kernels: one call a step for all parameters.

They do what :mod:`torch.optim`'s of the same names do, bit for bit, and their states have the same form. That package imports
PyTorch's compiler with its first optimiser, which takes longer than PyTorch itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Optimizer:
    """Parameters in groups, each with options of its own, and what is remembered of each parameter.

    Args:
        parameters: the parameters, or groups: mappings with ``params`` and the options that differ.
        **options: of groups that do not say otherwise.

    Attributes:
        param_groups: mappings with ``params`` and options.
        state: parameter -> name -> tensor.
    """

    def __init__(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], **options: Any) -> None:
        given = list(parameters)
        groups: list[Any] = given if given and isinstance(given[0], dict) else [{"params": given}]
        self.param_groups: list[dict[str, Any]] = [{**options, **group, "params": list(group["params"])} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def step(self) -> None:
        """One step by the gradients that there are."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, by the parameters' numbers, and the groups with numbers in the place of parameters."""
        numbers = {parameter: i for i, parameter in enumerate(self._parameters())}
        groups = [{**group, "params": [numbers[parameter] for parameter in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[parameter]: dict(known) for parameter, known in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a :meth:`state_dict`, also one of :mod:`torch.optim`; tensors are copied.

        Raises:
            ValueError: it is of other parameters.
        """
        parameters = self._parameters()
        if [len(group["params"]) for group in state["param_groups"]] != [len(group["params"]) for group in self.param_groups]:
            raise ValueError("the optimiser's state has other groups of parameters")
        if any(not 0 <= int(i) < len(parameters) for i in state["state"]):
            raise ValueError("the optimiser's state is of other parameters")
        for own, given in zip(self.param_groups, state["param_groups"], strict=True):
            kept = {name: value for name, value in given.items() if name in own or name == "initial_lr"}
            own.update({**kept, "params": own["params"]})
        self.state = {parameters[int(i)]: self._copied(parameters[int(i)], known) for i, known in state["state"].items()}

    def _copied(self, parameter: Tensor, known: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, tensor in known.items():
            if tensor.ndim and tensor.shape != parameter.shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, its parameter {tuple(parameter.shape)}")
        # Laid out in memory as the parameter is: the kernels take entries in the order in which they lie.
        return {
            name: torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
            if tensor.ndim
            else tensor.to(parameter.device, copy=True)
            for name, tensor in known.items()
        }

    def _trained(self, group: dict[str, Any], *names: str) -> list[list[list[Tensor]]]:
        """Of a group's parameters with gradients: parameters, gradients, steps and what is remembered under names, a list each;
        apart where they are of another type. What is not there yet starts at zero; steps are counted on."""
        kinds: dict[tuple[torch.dtype, torch.device], list[list[Tensor]]] = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            known = self.state.get(parameter)
            if known is None:
                known = self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device),
                    **{name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in names},
                }
            row = [parameter, parameter.grad, known["step"], *(known[name] for name in names)]
            columns = kinds.setdefault((parameter.dtype, parameter.device), [[] for _ in row])
            for column, tensor in zip(columns, row, strict=True):
                column.append(tensor)
        for columns in kinds.values():
            torch._foreach_add_(columns[2], 1)  # pyright: ignore
        return list(kinds.values())


class Adam(Optimizer):
    """Adam (Kingma, Ba 2015); with ``weight_decay`` AdamW (Loshchilov, Hutter 2019)."""

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameters, gradients, steps, means, squares in self._trained(group, "exp_avg", "exp_avg_sq"):
                torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]
                    parameters, gradients, means, squares, [], steps, lr=group["lr"], beta1=beta1, beta2=beta2,
                    weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
                )  # fmt: skip


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan, Singer 2011)."""

    def __init__(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float = 1e-2, eps: float = 1e-10) -> None:
        super().__init__(parameters, lr=lr, eps=eps)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameters, gradients, steps, sums in self._trained(group, "sum"):
                torch._fused_adagrad_(  # pyright: ignore[reportPrivateImportUsage]
                    parameters, gradients, sums, steps, lr=group["lr"], lr_decay=0.0, weight_decay=0.0, eps=group["eps"],
                    maximize=False,
                )  # fmt: skip
