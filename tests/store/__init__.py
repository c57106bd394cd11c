# SPDX-License-Identifier: Apache-2.0
"""What is kept, and the migrations that make room for it."""
