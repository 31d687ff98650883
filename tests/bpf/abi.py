# SPDX-License-Identifier: GPL-2.0-only
"""
abi: packs and unpacks the structs of bpf/slb_abi.h, by the type information (BTF) of the built object, so that
no layout is written down twice.

In Python: __be16 is a number (a port), __be32 and arrays of bytes are bytes (addresses), nested structs are dicts.
"""

import json
import re
import subprocess


class Types:
    def __init__(self, path):
        dump = subprocess.run(["bpftool", "-j", "btf", "dump", "file", path],
                              check=True, capture_output=True, text=True).stdout
        self.by_id = {t["id"]: t for t in json.loads(dump)["types"]}
        self.by_name = {t["name"]: t for t in self.by_id.values()
                        if t["kind"] in ("STRUCT", "UNION")}

    def _resolve(self, type_id):
        """Returns (type, wire order?), past typedefs and qualifiers."""
        is_wire = False
        found = self.by_id[type_id]
        while found["kind"] in ("TYPEDEF", "CONST", "VOLATILE"):
            is_wire = is_wire or found["name"].startswith("__be")
            found = self.by_id[found["type_id"]]
        return found, is_wire

    def _size(self, type_id):
        found, _ = self._resolve(type_id)
        if found["kind"] == "ARRAY":
            return found["nr_elems"] * self._size(found["type_id"])
        return found.get("size", 8)

    def size(self, name):
        return self.by_name[name]["size"]

    def pack(self, name, **values):
        room = bytearray(self.size(name))
        self._pack(self.by_name[name], values, room, 0)
        return bytes(room)

    def _pack(self, struct, values, room, base):
        unknown = set(values) - {m["name"] for m in struct["members"]}
        assert not unknown, f"{struct['name']} has no {unknown}"
        for member in struct["members"]:
            if member["name"] in values:
                self._put(member["type_id"], values[member["name"]], room,
                          base + member["bits_offset"] // 8)

    def _put(self, type_id, value, room, at):
        found, is_wire = self._resolve(type_id)
        if isinstance(value, dict):
            self._pack(found, value, room, at)
        elif isinstance(value, (list, tuple)):
            step = self._size(found["type_id"])
            for index, item in enumerate(value):
                self._put(found["type_id"], item, room, at + index * step)
        else:
            if isinstance(value, int):
                value = value.to_bytes(found["size"], "big" if is_wire else "little")
            assert len(value) <= self._size(type_id)
            room[at:at + len(value)] = value

    def unpack(self, name, data):
        return self._unpack(self.by_name[name], data, 0)

    def _unpack(self, struct, data, base):
        return {m["name"]: self._get(m["type_id"], data, base + m["bits_offset"] // 8)
                for m in struct["members"]}

    def _get(self, type_id, data, at):
        found, is_wire = self._resolve(type_id)
        if found["kind"] in ("STRUCT", "UNION"):
            return self._unpack(found, data, at)
        if found["kind"] == "ARRAY":
            step = self._size(found["type_id"])
            if step == 1:
                return data[at:at + found["nr_elems"]]
            return [self._get(found["type_id"], data, at + i * step)
                    for i in range(found["nr_elems"])]
        raw = data[at:at + found["size"]]
        if is_wire and found["size"] == 4:
            return raw
        return int.from_bytes(raw, "big" if is_wire else "little")


def variables(path):
    """{name: (offset, size)} of an object's constants, by its symbols: the type information has no offsets yet."""
    table = subprocess.run(["readelf", "-sW", path], check=True, capture_output=True,
                           text=True).stdout
    return {name: (int(offset, 16), int(size)) for offset, size, name in
            re.findall(r"([0-9a-f]{16})\s+(\d+) OBJECT.* (slb_\w+)$", table, flags=re.M)}


def constants(path):
    """The #defines and enums of a C header whose values are plain numbers, shifts or lists of names."""
    text = open(path, encoding="utf-8").read()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = {}
    for name, value in re.findall(r"#define\s+(SLB_\w+)\s+(\(1 << \d+\)|0x[0-9a-f]+|\d+)\s*$",
                                  text, flags=re.M):
        found[name] = eval(value)  # pylint: disable=eval-used  # a number or a shift, by the pattern
    for body in re.findall(r"enum \w+ \{([^}#]*)\}", text):
        for name, value in re.findall(r"(SLB_\w+) = (\d+)", body):
            found[name] = int(value)
    reasons = re.findall(r"X\((\w+), \"(\w+)\"\)", text)
    found.update({f"SLB_DROP_{name}": index for index, (name, _) in enumerate(reasons)})
    return found
