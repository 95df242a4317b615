"""The pickle inside a torch checkpoint, run by a machine that can describe tensors and do nothing else.

A pickle is a program. The machine knows the opcodes that ``torch.save`` writes and the globals of
``torch_globals``, so nothing of the file's choosing is imported, called or changed. What no tensor hangs on
(lists, sets, fractions, bytes) is read past and not kept.

References:
    CPython's Lib/pickletools.py (opcodes).
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from forensics.checkpoint.torch_globals import GLOBALS, ITEMSIZE, OPAQUE, PickledStorage, TensorClass, is_count
from forensics.errors import CheckpointError, UnsafeFileError

# Why not pickle.Unpickler with a strict find_class: before any global is asked for, the C one allocates its
# memo for whatever index the file names (1.5 GB for a pickle of 9 bytes), the Python one a bytearray of
# whatever length it claims, and both crash the process when a deeply nested tuple is used as a key.

MAX_OPCODES = 8_000_000
"""A tensor takes 45 to 55; an opcode can make the machine hold near 100 bytes, so that a bomb stays under 1 GB."""


def run_pickle(raw: bytes, where: str) -> object:
    """The object that a checkpoint's pickle describes; ``where`` begins the error messages.

    Returns:
        A PickledTensor; a dictionary of what may hold some, by its string keys; anything else for the rest.

    Raises:
        UnsafeFileError: it names a global or an opcode that no state dict needs, or goes on without end.
        CheckpointError: it is damaged.
    """
    machine = _Machine(raw)
    try:
        return machine.run()
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{where}: its pickle {error.message}", hint="convert it to safetensors") from None
    # IndexError: the end of the bytes or of a stack. KeyError: an object that was never stored. There are no
    # others: a length is checked before it is used, nothing recurses, and only str and int are hashed.
    except (CheckpointError, IndexError, KeyError, UnicodeDecodeError) as error:
        what = error.message if isinstance(error, CheckpointError) else "ends early or takes what was never put"
        raise CheckpointError(
            f"{where}: its pickle {what} (at byte {machine.position:,})", hint="download it again"
        ) from None


class _Machine:
    """A pickle machine: a stack, the stacks laid aside at marks, and a memo."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.position = 0
        self.stack: list[Any] = []
        self.laid_aside: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, PickledStorage] = {}

    def run(self) -> object:
        for _ in range(MAX_OPCODES):
            opcode = self.take(1)
            if opcode == b".":
                return self.stack.pop()
            if opcode not in _ACTIONS:
                raise UnsafeFileError(f"uses the opcode {opcode!r}, which torch.save does not write")
            _ACTIONS[opcode](self)
        raise UnsafeFileError(f"does not end within {MAX_OPCODES:,} opcodes")

    def take(self, n_bytes: int) -> bytes:
        start, self.position = self.position, self.position + n_bytes
        if self.position > len(self.raw):
            raise CheckpointError("ends early")
        return self.raw[start : self.position]

    def number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pass_over(self, n_bytes: int) -> None:
        self.take(n_bytes)
        self.push(OPAQUE)

    def pop_items(self, n_items: int) -> list[Any]:
        return [self.stack.pop() for _ in range(n_items)][::-1]

    def mark(self) -> None:
        self.laid_aside.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.laid_aside.pop()
        return items

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def add_items(self, items: list[Any]) -> None:
        if items and self.stack[-1] is not OPAQUE:
            raise CheckpointError("adds items to what is not a list or set")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if target is OPAQUE:
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise CheckpointError("sets items of what is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                continue
            if key in target:
                raise CheckpointError(f"gives the key {key[:80]!r} twice")
            target[key] = value

    def read_global(self) -> None:
        # No known name is near 200 bytes; a longer line is cut, and is then no known name.
        module, name, *_ = [*self.raw[self.position : self.position + 200].split(b"\n", 2), b"", b""]
        self.take(len(module) + len(name) + 2)
        self.push_global(module.decode(), name.decode())

    def push_global(self, module: object, name: object) -> None:
        known = f"{module} {name}" if isinstance(module, str) and isinstance(name, str) else ""
        if known not in GLOBALS:
            named = known.replace(" ", ".", 1)[:120]
            raise UnsafeFileError(f"names the global {named!r}, which no state dict needs")
        self.push(GLOBALS[known])

    def reduce(self) -> None:
        function, args = self.pop_items(2)
        if not isinstance(function, FunctionType) or not isinstance(args, tuple):
            raise UnsafeFileError("calls what is not a function")
        self.push(function(args))

    def build(self) -> None:
        self.stack.pop()  # the _metadata of a state dict, which says nothing about the weights
        if not isinstance(self.stack[-1], dict):
            raise UnsafeFileError("sets the state of what is not a state dict")

    def push_storage(self) -> None:
        match self.stack.pop():
            case ("storage", TensorClass(type_name), str() as key, str(), n) if type_name and is_count(n):
                storage = PickledStorage(key, type_name, n * ITEMSIZE[type_name])
                if self.storages.setdefault(key, storage) != storage:
                    raise CheckpointError(f"describes the storage {key[:80]!r} in two ways")
                return self.push(storage)
        raise CheckpointError("refers to what is not a storage")


_ACTIONS: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.take(1),  # PROTO
    b"\x95": lambda m: m.take(8),  # FRAME: for readers of streams
    b"(": _Machine.mark,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"J": lambda m: m.push(m.number(4, signed=True)),
    b"\x8a": lambda m: m.push(m.number(m.number(1), signed=True)),  # LONG1
    b"G": lambda m: m.pass_over(8),
    b"C": lambda m: m.pass_over(m.number(1)),
    b"B": lambda m: m.pass_over(m.number(4)),
    b"\x8c": lambda m: m.push(m.take(m.number(1)).decode()),  # SHORT_BINUNICODE
    b"X": lambda m: m.push(m.take(m.number(4)).decode()),
    b"]": lambda m: m.push(OPAQUE),  # EMPTY_LIST
    b"\x8f": lambda m: m.push(OPAQUE),  # EMPTY_SET
    b"}": lambda m: m.push({}),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.push(tuple(m.pop_items(1))),
    b"\x86": lambda m: m.push(tuple(m.pop_items(2))),
    b"\x87": lambda m: m.push(tuple(m.pop_items(3))),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"a": lambda m: m.add_items(m.pop_items(1)),
    b"e": lambda m: m.add_items(m.since_mark()),
    b"\x90": lambda m: m.add_items(m.since_mark()),
    b"s": lambda m: m.set_items(m.pop_items(2)),
    b"u": lambda m: m.set_items(m.since_mark()),
    b"q": lambda m: m.put(m.number(1)),
    b"r": lambda m: m.put(m.number(4)),
    b"\x94": lambda m: m.put(len(m.memo)),  # MEMOIZE
    b"h": lambda m: m.push(m.memo[m.number(1)]),
    b"j": lambda m: m.push(m.memo[m.number(4)]),
    b"c": _Machine.read_global,
    b"\x93": lambda m: m.push_global(*m.pop_items(2)),  # STACK_GLOBAL
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"Q": _Machine.push_storage,
}
"""What each opcode does, by its byte; the bytes that name themselves badly have their name beside them."""
