"""The payload of an ACK frame: a LIST-OF-ACTIONS (SPOE.txt 3.2.7 and 3.4).

Here live the two actions, set-var and unset-var. Which variables an agent sets does not belong here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from spoe_agent.spop.errors import LocalProtocolError, malformed
from spoe_agent.spop.values import Value, read_string, read_value, string, value

# HAProxy keeps "scope.prefix.name" in 64 bytes with the final zero and cuts what is longer without a word
# (spoe_set_var in src/flt_spoe.c). The prefix ("option var-prefix") is not known on the wire, so it gets a room.
FULL_NAME_LIMIT_BYTES = 63
PREFIX_ROOM_BYTES = 24

_SET_VAR, _UNSET_VAR = 1, 2
_SET_VAR_ARGS, _UNSET_VAR_ARGS = 3, 2
_NAME = re.compile(r"[A-Za-z0-9_.]+")  # what vars.c accepts in a variable's name


class Scope(IntEnum):
    """Life time of a HAProxy variable (SPOE.txt 3.4)."""

    PROC = 0
    SESS = 1
    TXN = 2
    REQ = 3
    RES = 4


@dataclass(frozen=True, slots=True)
class SetVar:
    """Set `scope.<prefix>.name`. HAProxy adds the prefix; the value None unsets the variable."""

    scope: Scope
    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class UnsetVar:
    """Unset `scope.<prefix>.name`."""

    scope: Scope
    name: str


VarAction = SetVar | UnsetVar


def encode_actions(actions: Iterable[VarAction]) -> bytes:
    """Write a LIST-OF-ACTIONS.

    LocalProtocolError: a name that HAProxy would cut or refuse, or a value that SPOP cannot express.
    """
    parts: list[bytes] = []
    for action in actions:
        if isinstance(action, SetVar):
            parts.append(_head(_SET_VAR, _SET_VAR_ARGS, action.scope, action.name))
            parts.append(value(action.value))
        else:
            parts.append(_head(_UNSET_VAR, _UNSET_VAR_ARGS, action.scope, action.name))
    return b"".join(parts)


@lru_cache(maxsize=1024)  # an agent uses the same few names in every answer
def _head(kind: int, nb_args: int, scope: Scope, name: str) -> bytes:
    """<ACTION-TYPE><NB-ARGS><VAR-SCOPE><VAR-NAME>, with the name checked."""
    limit = FULL_NAME_LIMIT_BYTES - PREFIX_ROOM_BYTES - len(f"{scope.name}..")
    if not _NAME.fullmatch(name):
        raise LocalProtocolError(f"variable name {name!r}: HAProxy takes letters, digits, '_' and '.' only")
    if len(name) > limit:
        raise LocalProtocolError(
            f"variable name {name!r} has {len(name)} bytes; {limit} fit in scope {scope.name.lower()}, "
            f"because HAProxy cuts scope.prefix.name at {FULL_NAME_LIMIT_BYTES}: shorten it"
        )
    return bytes((kind, nb_args, scope)) + string(name)


def read_actions(data: bytes, pos: int) -> tuple[VarAction, ...]:
    """Read the actions that fill the rest of the frame, as HAProxy would."""
    actions: list[VarAction] = []
    while pos < len(data):
        if len(data) - pos < 3:
            raise malformed(f"frame ends inside an action, at byte {len(data)}")
        kind, nb_args, scope_id = data[pos : pos + 3]
        if scope_id > Scope.RES:
            raise malformed(f"unknown variable scope {scope_id} before byte {pos + 3}")
        name, pos = read_string(data, pos + 3)
        if (kind, nb_args) == (_SET_VAR, _SET_VAR_ARGS):
            item, pos = read_value(data, pos)
            actions.append(SetVar(Scope(scope_id), name, item))
        elif (kind, nb_args) == (_UNSET_VAR, _UNSET_VAR_ARGS):
            actions.append(UnsetVar(Scope(scope_id), name))
        else:
            raise malformed(f"unknown action {kind} with {nb_args} arguments before byte {pos}")
    return tuple(actions)
