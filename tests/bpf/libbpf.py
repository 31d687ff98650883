# SPDX-License-Identifier: GPL-2.0-only
"""
libbpf: the few calls of libbpf.so.1 that the tests need, by ctypes: open an object, size its maps, set its
constants, load, read and write maps, run a program on a packet.

Errors become OSError; a refused program shows the end of the verifier's log.
"""

import ctypes
import errno
import os
import time

_lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
_P = ctypes.c_void_p
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, _P)
_silent = _PRINT(lambda _level, _format, _args: 0)
_lib.libbpf_set_print(_silent)

ANY, NOEXIST, EXIST, F_LOCK = 0, 1, 2, 4


class _OpenOpts(ctypes.Structure):
    _fields_ = [
        ("sz", ctypes.c_size_t), ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool), ("pin_root_path", ctypes.c_char_p),
        ("attach_prog_fd", ctypes.c_uint32), ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p), ("kernel_log_buf", _P),
        ("kernel_log_size", ctypes.c_size_t), ("kernel_log_level", ctypes.c_uint32),
    ]


class _TestRunOpts(ctypes.Structure):
    _fields_ = [
        ("sz", ctypes.c_size_t), ("data_in", _P), ("data_out", _P),
        ("data_size_in", ctypes.c_uint32), ("data_size_out", ctypes.c_uint32),
        ("ctx_in", _P), ("ctx_out", _P),
        ("ctx_size_in", ctypes.c_uint32), ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32), ("repeat", ctypes.c_int), ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32), ("batch_size", ctypes.c_uint32),
    ]


def _prototype(name, result, *arguments):
    function = getattr(_lib, name)
    function.restype = result
    function.argtypes = arguments
    return function


_open_file = _prototype("bpf_object__open_file", _P, ctypes.c_char_p, _P)
_load = _prototype("bpf_object__load", ctypes.c_int, _P)
_close = _prototype("bpf_object__close", None, _P)
_next_map = _prototype("bpf_object__next_map", _P, _P, _P)
_next_program = _prototype("bpf_object__next_program", _P, _P, _P)
_program_name = _prototype("bpf_program__name", ctypes.c_char_p, _P)
_program_fd = _prototype("bpf_program__fd", ctypes.c_int, _P)
_program_size = _prototype("bpf_program__insn_cnt", ctypes.c_size_t, _P)
_map_name = _prototype("bpf_map__name", ctypes.c_char_p, _P)
_map_fd = _prototype("bpf_map__fd", ctypes.c_int, _P)
_map_type = _prototype("bpf_map__type", ctypes.c_int, _P)
_map_key_size = _prototype("bpf_map__key_size", ctypes.c_uint32, _P)
_map_value_size = _prototype("bpf_map__value_size", ctypes.c_uint32, _P)
_map_set_entries = _prototype("bpf_map__set_max_entries", ctypes.c_int, _P, ctypes.c_uint32)
_map_reuse_fd = _prototype("bpf_map__reuse_fd", ctypes.c_int, _P, ctypes.c_int)
_map_set_value = _prototype("bpf_map__set_initial_value", ctypes.c_int, _P, _P, ctypes.c_size_t)
_map_value = _prototype("bpf_map__initial_value", _P, _P, ctypes.POINTER(ctypes.c_size_t))
_update = _prototype("bpf_map_update_elem", ctypes.c_int, ctypes.c_int, _P, _P, ctypes.c_uint64)
_lookup = _prototype("bpf_map_lookup_elem", ctypes.c_int, ctypes.c_int, _P, _P)
_delete = _prototype("bpf_map_delete_elem", ctypes.c_int, ctypes.c_int, _P)
_next_key = _prototype("bpf_map_get_next_key", ctypes.c_int, ctypes.c_int, _P, _P)
_info = _prototype("bpf_obj_get_info_by_fd", ctypes.c_int, ctypes.c_int, _P, _P)
_test_run = _prototype("bpf_prog_test_run_opts", ctypes.c_int, ctypes.c_int, _P)
_cpus = _prototype("libbpf_num_possible_cpus", ctypes.c_int)()

# Of struct bpf_prog_info (<linux/bpf.h>), from Linux 5.16 on.
_INFO_BYTES, _INFO_VERIFIED_INSNS = 224, 216

_PERCPU_TYPES = (5, 6, 10)  # per-CPU hash, array, LRU hash


def _check(result, what):
    if result is None or (isinstance(result, int) and result < 0):
        number = ctypes.get_errno() or (-result if result else errno.EINVAL)
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class Map:
    """A map of a loaded object. Keys and values are bytes; of per-CPU maps read() gives one value per CPU."""

    def __init__(self, handle):
        self.handle = handle
        self.name = _map_name(handle).decode()
        self.fd = _map_fd(handle)
        self.key_bytes = _map_key_size(handle)
        self.value_bytes = _map_value_size(handle)
        self.is_percpu = _map_type(handle) in _PERCPU_TYPES

    def write(self, key, value, flags=ANY):
        assert len(key) == self.key_bytes and len(value) == self.value_bytes, self.name
        if self.is_percpu:
            value = value.ljust((len(value) + 7) // 8 * 8, b"\0") * _cpus
        _check(_update(self.fd, key, value, flags), f"write to {self.name}")

    def read(self, key):
        """The value, or None."""
        assert len(key) == self.key_bytes
        step = (self.value_bytes + 7) // 8 * 8
        room = ctypes.create_string_buffer(step * _cpus if self.is_percpu else self.value_bytes)
        if _lookup(self.fd, key, room) < 0:
            return None
        if self.is_percpu:
            return [room.raw[i * step:i * step + self.value_bytes] for i in range(_cpus)]
        return room.raw

    def delete(self, key):
        return _delete(self.fd, key) == 0

    def keys(self):
        key, following = None, ctypes.create_string_buffer(self.key_bytes)
        keys = []
        while _next_key(self.fd, key, following) == 0:
            key = following.raw
            keys.append(key)
        return keys

    def items(self):
        return {key: self.read(key) for key in self.keys()}

    def clear(self):
        for key in self.keys():
            self.delete(key)


class Program:
    def __init__(self, handle):
        self.handle = handle
        self.fd = _program_fd(handle)
        self.name = _program_name(handle).decode()
        self._out = ctypes.create_string_buffer(70000)

    def run(self, data, context=b"", repeat=1):
        """Returns (verdict, packet out)."""
        opts = _TestRunOpts(sz=ctypes.sizeof(_TestRunOpts), repeat=repeat)
        data_in = ctypes.create_string_buffer(data, len(data))
        context_in = ctypes.create_string_buffer(context, len(context)) if context else None
        opts.data_in = ctypes.cast(data_in, _P)
        opts.data_size_in = len(data)
        opts.data_out = ctypes.cast(self._out, _P)
        opts.data_size_out = len(self._out)
        if context_in is not None:
            opts.ctx_in = ctypes.cast(context_in, _P)
            opts.ctx_size_in = len(context)
        _check(_test_run(self.fd, ctypes.byref(opts)), f"run {self.name}")
        return ctypes.c_int32(opts.retval).value, self._out.raw[:opts.data_size_out]

    def verified_instructions(self):
        """How many the verifier went through to load it."""
        info = ctypes.create_string_buffer(_INFO_BYTES)
        length = ctypes.c_uint32(_INFO_BYTES)
        _check(_info(self.fd, info, ctypes.byref(length)), f"info of {self.name}")
        return int.from_bytes(info.raw[_INFO_VERIFIED_INSNS:_INFO_VERIFIED_INSNS + 4], "little")

    def time(self, data, context, repeat):
        """Runs it `repeat` times on one frame. Returns (the last verdict, ns of this thread's CPU time a run)."""
        data_in = ctypes.create_string_buffer(data, len(data))
        context_in = ctypes.create_string_buffer(context, len(context))
        opts = _TestRunOpts(sz=ctypes.sizeof(_TestRunOpts), repeat=repeat,
                            data_in=ctypes.cast(data_in, _P), data_size_in=len(data),
                            ctx_in=ctypes.cast(context_in, _P), ctx_size_in=len(context))
        begun = time.thread_time_ns()
        result = _test_run(self.fd, ctypes.byref(opts))
        spent = time.thread_time_ns() - begun
        _check(result, f"run {self.name}")
        return ctypes.c_int32(opts.retval).value, spent / repeat


class Object:
    """A loaded object: .maps and .programs by name. sizes: max_entries by map; reuse: maps by name."""

    def __init__(self, path, sizes=None, reuse=None, constants=None):
        self._log = ctypes.create_string_buffer(1 << 24)
        opts = _OpenOpts(sz=ctypes.sizeof(_OpenOpts), kernel_log_buf=ctypes.cast(self._log, _P),
                         kernel_log_size=len(self._log), kernel_log_level=int(os.environ.get("SLB_VERIFIER_LOG", "4")))
        self.handle = _check(_open_file(path.encode(), ctypes.byref(opts)), f"open {path}")
        for handle in self._each(_next_map):
            name = _map_name(handle).decode()
            if reuse and name in reuse:
                _check(_map_reuse_fd(handle, reuse[name].fd), f"reuse {name}")
            elif sizes and name in sizes:
                _check(_map_set_entries(handle, sizes[name]), f"size {name}")
            elif name.endswith(".rodata") and constants:
                _check(_map_set_value(handle, constants, len(constants)), "set constants")
        if _load(self.handle) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"load {path}: {os.strerror(number)}\n"
                          + self.log()[-6000:])
        self.maps = {m.name: m for m in map(Map, self._each(_next_map))}
        self.programs = {p.name: p for p in map(Program, self._each(_next_program))}

    def _each(self, following):
        handle = following(self.handle, None)
        while handle:
            yield handle
            handle = following(self.handle, handle)

    def log(self):
        return self._log.value.decode(errors="replace")

    def close(self):
        if self.handle:
            _close(self.handle)
            self.handle = None
