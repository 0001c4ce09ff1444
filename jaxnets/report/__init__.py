"""What was trained, how well, and where it fails, or how runs differ: one file each that opens offline."""

from jaxnets.report.comparison import compare as compare
from jaxnets.report.page import write as write
