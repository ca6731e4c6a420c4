"""A window that shows pictures as they come."""

from __future__ import annotations

from typing import Any

import numpy as np


class Window:
    """Shows BGR pictures (H, W, 3); by matplotlib, since OpenCV's headless wheel has no windows.

    Raises:
        RuntimeError: there is no display.
    """

    def __init__(self) -> None:
        from matplotlib import pyplot as plt

        try:
            self._figure = plt.figure('mmsvf', frameon=False)
        except Exception as error:  # each toolkit has its own
            raise _no_display(error) from error
        if not hasattr(self._figure.canvas.manager, 'window'):
            raise _no_display(f'matplotlib draws with {plt.get_backend()}')
        self._plt = plt
        self._image: Any = None

    def __call__(self, picture: np.ndarray) -> None:
        """Show a picture in place of the one before."""
        rgb = picture[..., ::-1]
        if self._image is None:
            axes = self._figure.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            self._image = axes.imshow(rgb)
            self._plt.show(block=False)
        else:
            self._image.set_data(rgb)
        self._figure.canvas.draw_idle()
        self._plt.pause(0.001)


def _no_display(reason: Any) -> RuntimeError:
    return RuntimeError(
        f'--show needs a display, and none is here ({reason}); leave it out and look at the video in OUT'
    )
