"""A sweep as a page: what is read is its sweep.json alone, and no other room of sweeps."""

from jaxnets.report.sweep.page import write as write
