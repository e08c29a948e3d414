"""What all tests of exports share."""

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

torch.set_num_threads(1)  # steps are short: threads would wait for each other most of the time
