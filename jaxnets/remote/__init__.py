"""Runs and data at a URL: `gs://bucket/runs/x`, or any other place that fsspec knows.

A run works in a folder of this host, as every run does, and what it writes there goes up: so nothing else has to know
where a run lies. Object stores rename nothing, lock nothing and append nothing, but a put is whole or not there. From
that follow the four parts: `store` (puts and gets, tried again), `lease` (one run at a time), `mirror` (the files of
the run) and `shelf` (its checkpoints, with the manifest last).
"""

from jaxnets.remote.home import Home as Home
from jaxnets.remote.home import following as following
from jaxnets.remote.home import local as local
from jaxnets.remote.home import opened as opened
from jaxnets.remote.home import reading as reading
from jaxnets.remote.store import Store as Store
from jaxnets.remote.store import is_url as is_url
