#!/usr/bin/env python3
"""Runs a failover policy from Python: what would it do, and why?

    host.py COMPONENT.wasm SCENARIO.json…     runs scenarios in full; exit code 1 if a decision differs from the expected one
    host.py COMPONENT.wasm <OBSERVATION.json  prints the Decision

Independent of the fields of the contract: the types come from the component. JSON has the form of the operator's log: snake_case
fields, PascalCase cases, null for absent. The host carries out no plan.
"""

import difflib
import json
import sys

from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime import component as wasm


class Policy:
    """A component file, compiled once."""

    def __init__(self, path):
        config = Config()
        config.consume_fuel = True
        self.engine = Engine(config)
        self.component = wasm.Component.from_file(self.engine, path)
        exports = self.component.type.exports(self.engine)
        self.interface = next((name for name in exports if name.startswith(INTERFACE)), None)
        if self.interface is None:
            raise ValueError(f"exports {', '.join(exports) or 'nothing'}, not {INTERFACE}…")

    def decide(self, observation):
        """The Decision on an Observation, both as JSON values. Each call gets a fresh instance, without imports."""
        store = Store(self.engine)
        store.set_fuel(FUEL)
        store.set_limits(memory_size=MEMORY_BYTES)
        instance = wasm.Linker(self.engine).instantiate(store, self.component)
        interface = instance.get_export_index(store, self.interface)
        decide = instance.get_func(store, instance.get_export_index(store, "decide", interface))
        kind = decide.type(store)
        (_, observation_type), = kind.params
        return lift(kind.result, decide(store, lower(observation_type, observation, "observation")))


def lower(ty, value, where):
    """JSON to a component value. Checks ranges, because wasmtime would truncate a number."""
    match ty:
        case wasm.Bool():
            return expect(value, bool, where)
        case wasm.String():
            return expect(value, str, where)
        case wasm.EnumType():
            return one_of(ty.names, kebab(expect(value, str, where)), where)
        case wasm.OptionType():
            return None if value is None else lower(ty.payload, value, where)
        case wasm.ListType():
            return [lower(ty.element, item, f"{where}[{n}]") for n, item in enumerate(expect(value, list, where))]
        case wasm.RecordType():
            record, fields = wasm.Record(), expect(value, dict, where)
            for name, field in ty.fields:
                key = name.replace("-", "_")
                setattr(record, name, lower(field, fields.get(key), f"{where}.{key}"))
            return record
        case wasm.VariantType():
            cases = dict(ty.cases)
            case = ", ".join(expect(value, dict, where))
            tag = one_of(list(cases), kebab(case), where)
            return wasm.Variant(tag, lower(cases[tag], value[case], f"{where}.{case}"))
        case _:
            return one_of(integers(ty), expect(value, int, where), where)


def lift(ty, value):
    """A component value to JSON."""
    match ty:
        case wasm.Bool() | wasm.String():
            return value
        case wasm.EnumType():
            return pascal(value)
        case wasm.OptionType():
            return None if value is None else lift(ty.payload, value)
        case wasm.ListType():
            return [lift(ty.element, item) for item in value]
        case wasm.RecordType():
            return {name.replace("-", "_"): lift(field, getattr(value, name)) for name, field in ty.fields}
        case wasm.VariantType():
            # wasmtime omits the tag if no two cases have payloads of one Python class. Here all are records.
            if not isinstance(value, wasm.Variant):
                raise TypeError("variant without a tag")
            return {pascal(value.tag): lift(dict(ty.cases)[value.tag], value.payload)}
        case _:
            return value


def integers(ty):
    """The range of U8 to S64."""
    sign, bits = type(ty).__name__[0], int(type(ty).__name__[1:])
    return range(2**bits) if sign == "U" else range(-(2 ** (bits - 1)), 2 ** (bits - 1))


def expect(value, kind, where):
    """The value, if it has that type. True is not an integer."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where}: {json.dumps(value)[:80]} is not a {kind.__name__}")
    return value


def one_of(choices, value, where):
    if value not in choices:
        raise ValueError(f"{where}: {value!r} is not in {choices}")
    return value


def kebab(name):
    """TimedOut to timed-out."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def pascal(name):
    return "".join(part.capitalize() for part in name.split("-"))


def run_scenarios(policy, paths):
    """Prints the differences, then a summary. Returns the number of failures."""
    failed = 0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            scenario = json.load(file)
        try:
            actual = policy.decide(scenario["observation"])
        except (ValueError, WasmtimeError) as error:
            actual = str(error)
        # As text, because in Python 1 equals True and 1.0.
        expected, actual = (json.dumps(one, indent=2, sort_keys=True).splitlines() for one in (scenario["decision"], actual))
        if expected != actual:
            failed += 1
            print(f"{path}: {scenario['why']}", *difflib.unified_diff(expected, actual, "expected", "actual", lineterm=""), sep="\n")
    print(f"{len(paths) - failed} passed, {failed} failed")
    return failed


INTERFACE = "redis-failover:policy/policy@0.2."
# Hundreds of times the fuel of a decision on 500 members: ends an endless loop.
FUEL = 10_000_000_000
MEMORY_BYTES = 64 << 20


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        policy = Policy(sys.argv[1])
        if sys.argv[2:]:
            sys.exit(1 if run_scenarios(policy, sys.argv[2:]) else 0)
        print(json.dumps(policy.decide(json.load(sys.stdin)), ensure_ascii=False))
    except (OSError, ValueError, KeyError, WasmtimeError) as error:
        print(f"host.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
