# SPDX-License-Identifier: Apache-2.0
"""The API, asked over HTTP."""
