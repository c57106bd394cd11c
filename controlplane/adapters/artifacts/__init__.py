# SPDX-License-Identifier: Apache-2.0
"""Image archives by content: in a folder, or fetched by digest from the server that has them."""
