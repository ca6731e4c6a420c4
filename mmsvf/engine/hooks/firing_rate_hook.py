"""Firing rates during training: watched, and held down."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn

from mmsvf.engine.sharded import unwrapped
from mmsvf.registry import HOOKS


def neurons(model: nn.Module) -> dict[str, BaseNode]:
    """The spiking neurons of a model, by name.

    Raises:
        ValueError: it has none.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, BaseNode)}
    if not found:
        raise ValueError(f'{type(model).__name__} has no spiking neuron (spikingjelly BaseNode), so no firing rate')
    return found


def in_backward() -> bool:
    """Whether a backward pass is running, which computes again what ``with_cp`` dropped."""
    return torch._C._current_graph_task_id() != -1


@HOOKS.register_module()
class FiringRateHook(Hook):
    """Logs the firing rate of every neuron, and of each of its time steps, as ``firing_rate/<name>`` and ``.../t<k>``.

    No hook of MMEngine looks into layers; spikingjelly's monitors keep every output until they are cleared.

    Neurons that hardly fire or hardly rest are named in the log. Rates are of the last batch before a log, all chunks
    of it (``chunk_frames``), and of the main process.

    Args:
        interval: Iterations between two logs.
        dead: Mean rates at or below this are dead.
        saturated: Mean rates at or above this are saturated (of IntegerLIF: of its largest value).
        steps: Whether to log the time steps, too.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 100, dead: float = 1e-4, saturated: float = 0.95, steps: bool = True) -> None:
        if interval < 1 or not 0 <= dead < saturated:
            raise ValueError(
                f'interval={interval}, dead={dead}, saturated={saturated}; interval >= 1, dead < saturated'
            )
        self.interval, self.dead, self.saturated, self.steps = interval, dead, saturated, steps
        self._rates: dict[str, list[Tensor]] = {}  # of a call after those before: chunks or steps of a clip
        self._handles: list[Any] = []

    def before_train(self, runner: Any) -> None:
        """Check that there are neurons."""
        neurons(unwrapped(runner.model))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Watch this iteration, if it is one to log."""
        if (runner.iter + 1) % self.interval:
            return
        for name, neuron in neurons(unwrapped(runner.model)).items():
            self._handles.append(neuron.register_forward_hook(self._watch(name)))

    def _watch(self, name: str) -> Any:
        def hook(neuron: BaseNode, _: Any, spikes: Tensor) -> None:
            if in_backward():
                return
            steps = spikes.detach() if neuron.step_mode == 'm' else spikes.detach().unsqueeze(0)  # 's': one, without T
            rates = steps.flatten(1).mean(1) / getattr(neuron, 'max_value', 1)
            self._rates.setdefault(name, []).append(rates)

        return hook

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Log what was watched."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if not self._rates:
            return
        scalars: dict[str, float] = {}
        found = {name: torch.cat(rates) for name, rates in self._rates.items()}
        means = {name: float(rates.mean()) for name, rates in found.items()}
        for name, rates in found.items():
            scalars[f'firing_rate/{name}'] = means[name]
            if self.steps and len(rates) > 1:
                scalars.update({f'firing_rate/{name}/t{t}': float(rate) for t, rate in enumerate(rates, 1)})
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
        mean = sum(means.values()) / len(means)
        text = f'firing rate {mean:.4f} over {len(means)} neurons'
        for word, chosen in (
            ('dead', [name for name, rate in means.items() if rate <= self.dead]),
            ('saturated', [name for name, rate in means.items() if rate >= self.saturated]),
        ):
            text += f'; {len(chosen)} {word}: {", ".join(chosen)}' if chosen else ''
        runner.logger.info(text)
        self._rates.clear()


@HOOKS.register_module()
class SpikeSparsityHook(Hook):
    """Adds ``weight * mean over neurons of max(0, rate - target)`` to any model's losses, as ``loss_sparsity``.

    The rate is a neuron's mean output, through its surrogate gradient: fewer spikes, fewer accumulates. The losses of
    the frameworks see what a head gives, not what its layers fire.

    Args:
        weight: Weight of the loss.
        target: Rates up to this are free.
    """

    def __init__(self, weight: float = 0.1, target: float = 0.0) -> None:
        if weight < 0 or target < 0:
            raise ValueError(f'weight={weight}, target={target}; neither is negative')
        self.weight, self.target = weight, target
        self._rates: list[Tensor] = []

    def before_train(self, runner: Any) -> None:
        """Watch the neurons, and add to what the model makes of its losses."""
        model: Any = unwrapped(runner.model)
        for neuron in neurons(model).values():
            neuron.register_forward_hook(self._watch)
        parse = model.parse_losses

        def parse_losses(losses: dict[str, Any]) -> Any:
            if not self._rates:  # of a clip in chunks, whose losses have them already
                return parse(losses)
            over = torch.stack(self._rates) - self.target
            self._rates.clear()
            return parse({**losses, 'loss_sparsity': self.weight * over.clamp(min=0).mean()})

        model.parse_losses = parse_losses

    def _watch(self, neuron: nn.Module, _: Any, spikes: Tensor) -> None:
        if neuron.training and torch.is_grad_enabled() and not in_backward():
            self._rates.append(spikes.float().mean())
