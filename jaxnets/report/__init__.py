"""`report.html`: what was trained, how well, and where it fails, in one file that opens offline."""

from jaxnets.report.page import write as write
