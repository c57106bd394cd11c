# SPDX-License-Identifier: Apache-2.0
"""The collection is imported from the tree, as Ansible would."""

import sys
from pathlib import Path

COLLECTIONS = str(Path(__file__).resolve().parents[3] / "collections")
if COLLECTIONS not in sys.path:
    sys.path.insert(0, COLLECTIONS)
