# SPDX-License-Identifier: Apache-2.0
"""What can be asked of Tidegate, one transaction each. Every door calls these and nothing below them."""
