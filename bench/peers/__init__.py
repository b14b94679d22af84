"""The contestants: how each library does a job on data that are already in the form it likes best.

Each is prepared with the job's data and a number of threads and gives back the call that is timed.
Bringing the data to its form is not timed, nor turning its answer into the job's (forms.py): every
peer is shown at its best. One that is too slow for all models does the first few; its time is then
scaled by the number of pairs, and the table says so.
"""

from peers.contestant import Contestant
from peers.joint_agreement import JOINT_AGREEMENT
from peers.joint_errors import JOINT_ERRORS
from peers.pack_errors import PACK_ERRORS

CONTESTANTS: dict[str, list[Contestant]] = {
    "joint errors": JOINT_ERRORS,
    "pack errors": PACK_ERRORS,
    "joint agreement": JOINT_AGREEMENT,
}
