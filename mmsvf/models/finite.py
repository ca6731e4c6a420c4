"""Models that refuse NaN and infinity in testing."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class FiniteInputs:
    """Mix-in of the models whose ``predict`` refuses NaN and infinity.

    A membrane that is NaN never fires, so a clip of NaN would have a class, and a confident one. In training
    :class:`mmsvf.engine.hooks.finite_hook.FiniteHook` looks at the gradients.

    Args:
        *args: As of the model.
        check_finite: Whether ``predict`` looks at its inputs, for which it waits for the GPU.
        **kwargs: As of the model.
    """

    def __init__(self, *args: Any, check_finite: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check_finite = check_finite

    def check_inputs(self, inputs: Tensor) -> None:
        """Look at a batch (B, ...), the model's normalisation behind it.

        Raises:
            ValueError: a sample has a value that is NaN or infinite.
        """
        if not self.check_finite:
            return
        wrong = (~inputs.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        if wrong:
            raise ValueError(
                f'samples {wrong} of a batch of {len(inputs)} (from 0) have values that are NaN or infinite, '
                'which spikes would hide: correct the files, or mean and std of the data_preprocessor; '
                'model.check_finite=False lets them pass'
            )
