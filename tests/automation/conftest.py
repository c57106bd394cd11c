# SPDX-License-Identifier: Apache-2.0
"""The collection is imported by its own name, as Ansible does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "collections"))
