"""MMEngine logs and saves configs as they are: laying them out nicely is a third of a short run's time."""

import mmengine.config.config

mmengine.config.config.FormatCode = lambda text, **_: (text, True)
