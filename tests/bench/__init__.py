# SPDX-License-Identifier: Apache-2.0
"""`make bench`: what Tidegate costs beside what a person would run by hand, in one run on one machine."""
