# SPDX-License-Identifier: Apache-2.0
"""The demo: a server and a lab host, walked through a release's whole life by the REST API only."""
