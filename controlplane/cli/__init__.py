# SPDX-License-Identifier: Apache-2.0
"""The tidegate command: a client of the REST API, and the commands that run a server."""
