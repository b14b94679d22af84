"""The contestants: how each library does a job on data that are already in the form it likes best.

Each is prepared with the job's data and a number of threads and gives back the call that is timed.
Bringing the data to its form is not timed, nor turning its answer into the job's (forms.py): every
peer is shown at its best. One that is too slow for everything does the first few models, samples or
steps; its time is then scaled by the work that is left, and the table says so.
"""

from peers.contestant import Contestant
from peers.covariance import COVARIANCE
from peers.greedy import GREEDY
from peers.joint_agreement import JOINT_AGREEMENT
from peers.joint_errors import JOINT_ERRORS
from peers.linear_probe import LINEAR_PROBE, PROBE_PATH, SMALL_PROBES
from peers.pack_errors import PACK_ERRORS
from peers.pair_ensembles import PAIR_ENSEMBLES
from peers.temperature import TEMPERATURE

CONTESTANTS: dict[str, list[Contestant]] = {
    "joint errors": JOINT_ERRORS,
    "pack errors": PACK_ERRORS,
    "joint agreement": JOINT_AGREEMENT,
    "pair ensembles": PAIR_ENSEMBLES,
    "temperature": TEMPERATURE,
    "greedy selection": GREEDY,
    "covariance": COVARIANCE,
    "linear probe": LINEAR_PROBE,
    "probe path": PROBE_PATH,
    "small probes": SMALL_PROBES,
}
