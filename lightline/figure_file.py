"""A figure as a PNG file; equal content makes equal bytes.

Drawn without pyplot: no window, no state that one figure leaves to the next.
"""

import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lightline.files import whole_file

_DOTS_PER_INCH = 100


def save_figure(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with whole_file(path) as temporary, warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes; that costs nobody a result.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # Without metadata: the name and version of the library would make other bytes of the same figure.
        figure.savefig(temporary, dpi=_DOTS_PER_INCH, metadata={"Software": None})
