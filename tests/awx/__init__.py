# SPDX-License-Identifier: Apache-2.0
"""The door for AWX's clients, held to what the real ones do with it."""
